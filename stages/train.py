"""train: from prepared images to a checkpoint and its history."""

import time

from reprovision.core.files import digest_of_file
from reprovision.core.params import Params, load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info, load_split
from reprovision.models.checkpoint import save_checkpoint
from reprovision.models.classifier import count_parameters
from reprovision.models.hardware import choose_precision, describe_hardware, describe_numerics
from reprovision.models.workers import Workers
from reprovision.results import layout
from reprovision.results.fingerprint import run_key, training_key
from reprovision.results.history import kept_epoch, write_history
from reprovision.tracking.environment import save_environment
from reprovision.tracking.live import LiveLogging
from reprovision.training import loop
from reprovision.training.callbacks import HistoryWriter, Progress
from reprovision.training.launch import connect, is_worker, launch
from reprovision.training.resume import ResumeFolder


def main() -> None:
    """Trains, or resumes an interrupted training; writes the checkpoint and the history."""
    params = load_params()
    if params.train.processes > 1 and not is_worker():
        launch(params.train.processes, "-m", "stages.train")
        return
    with connect(params.train.processes) as workers:
        train(params, workers)


def train(params: Params, workers: Workers) -> None:
    """What each worker does; the first also writes the outputs and reports."""
    info = load_info(layout.PREPARED)
    splits = load_split(layout.PREPARED, "train"), load_split(layout.PREPARED, "val")
    training = training_key(params, info)
    state = loop.start(params, info, workers)
    device = state.classifier.device
    hardware = describe_hardware(device, choose_precision(params, device), workers.count)
    numerics = describe_numerics(params, hardware)
    resume = ResumeFolder(layout.resume_folder(), training, numerics)
    resumed = resume.restore(state, workers)
    if not workers.is_first:
        saving = [] if workers.local_rank else [resume]
        loop.train(state, *splits, params, saving, workers)
        for callback in saving:
            callback.delete()
        return

    print(
        f"{params.model.name}, {count_parameters(state.classifier):,} parameters; "
        f"{', '.join(map(' '.join, hardware.items()))}, numerics {params.numerics}"
    )
    if resumed:
        print(f"training resumed from epoch {len(state.history)}")
    progress = Progress(params.train.epochs, len(state.history), len(splits[0]), workers.count)
    with LiveLogging(params, run_key(params, training)) as live:
        callbacks = [resume, HistoryWriter(layout.HISTORY), progress, live]
        began = time.perf_counter()
        loop.train(state, *splits, params, callbacks, workers)
        seconds = time.perf_counter() - began
        save_checkpoint(layout.CHECKPOINT, state.saved_model, params.model, info, numerics)
        # also where all epochs were trained before an interruption
        write_history(layout.HISTORY, state.history)
        checkpoint = digest_of_file(layout.CHECKPOINT)
        save_environment(checkpoint, live.began, seconds, live.epoch_times, hardware | numerics)
    resume.delete()
    kept = kept_epoch(state.history, params.train.keep)
    best = "" if kept.val_accuracy is None else f": val accuracy {kept.val_accuracy:.2%}"
    trained, epochs = len(state.history), params.train.epochs
    if trained < epochs:
        print(f"training stopped after epoch {trained} of {epochs}: val accuracy rose no more")
    print(f"kept epoch {kept.epoch} of {trained}, the {params.train.keep}{best}")


if __name__ == "__main__":
    run_stage(main)
