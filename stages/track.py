"""track: from all results to a run and a model version in MLflow."""

from pathlib import Path

from reprovision.core.files import digest_of_file, write_json
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info
from reprovision.tracking.record import Results, write_record
from reprovision.tracking.store import ui_command
from reprovision.training.identity import run_key, training_key


def main(prepared: str, checkpoint: str, exported: str, results: str, receipt: str) -> None:
    params = load_params()
    made = Results(Path(prepared), Path(checkpoint), Path(exported), Path(results))
    key = run_key(params, training_key(params, load_info(prepared)))
    record = write_record(params, key, made)
    # names the run without its id, which is another on each server
    write_json(receipt, {"key": key, "checkpoint": digest_of_file(checkpoint)})
    model = f"{params.track.model_name} version {record.version}"
    print(f"""
MLflow   run {record.run_name!r}, model {model}: {ui_command(record.page)}
metrics  {results}/test.json: uv run dvc metrics show
plots    {results}/plots/, and a card of the model in {exported}/README.md
model    {exported}/model.onnx""")


if __name__ == "__main__":
    run_stage(main)
