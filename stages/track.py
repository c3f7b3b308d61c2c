"""track: from all results to a run and a model version in MLflow."""

from reprovision.core.files import digest_of_file, write_json
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info
from reprovision.results import layout
from reprovision.results.fingerprint import run_key, training_key
from reprovision.results.intact import require_intact
from reprovision.tracking.descriptions import how_to_keep
from reprovision.tracking.log_run import log_run
from reprovision.tracking.store import ui_address


def main() -> None:
    """Logs the results to MLflow, registers the model, and prints where everything is."""
    params = load_params()
    require_intact()
    key = run_key(params, training_key(params, load_info(layout.PREPARED)))
    run, version = log_run(params, key)
    # identifies the run without its id, which differs from server to server
    write_json(layout.RECEIPT, {"key": key, "checkpoint": digest_of_file(layout.CHECKPOINT)})
    model = f"{params.registered_model} version {version}"
    print(f"""
MLflow   run {run.info.run_name!r}, model {model}:
         {ui_address(run.info.experiment_id)}
metrics  {layout.TEST_METRICS}: uv run dvc metrics show
plots    {layout.PLOTS}/, and the model card {layout.CARD}
model    {layout.ONNX_MODEL}
{how_to_keep(params.data.source)}""")


if __name__ == "__main__":
    run_stage(main)
