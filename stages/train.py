"""train: from prepared images to a checkpoint and its history."""

import time

from reprovision.core.files import workspace
from reprovision.core.params import load_params
from reprovision.core.stage import run_stage
from reprovision.data.dataset import load_info, load_split
from reprovision.models import count_weights
from reprovision.models.checkpoint import save_checkpoint
from reprovision.tracking.live import LiveRun
from reprovision.tracking.notes import write_note
from reprovision.training import loop
from reprovision.training.history import write_history
from reprovision.training.identity import run_key, training_key
from reprovision.training.progress import Progress
from reprovision.training.resuming import ResumeFolder


def main(prepared: str, checkpoint: str, history: str) -> None:
    params, info = load_params(), load_info(prepared)
    train, val = load_split(prepared, "train"), load_split(prepared, "val")
    key = training_key(params, info)
    state = loop.start(params, info)
    hardware = loop.describe_hardware(state, params)
    weights = count_weights(state.classifier)
    print(f"{params.model.name}, {weights:,} weights; {', '.join(map(' '.join, hardware.items()))}")

    resume = ResumeFolder(workspace() / ".resume", key, hardware)
    if resume.restore(state):
        print(f"going on after epoch {len(state.history)} of an interrupted run")
    progress = Progress(params.train.epochs, len(state.history), len(train))
    live = LiveRun(params, run_key(params, key))
    began = time.perf_counter()
    loop.train(state, train, val, params, [resume, progress, live])
    seconds = time.perf_counter() - began

    save_checkpoint(checkpoint, state.shipped, params.model, info)
    write_history(history, state.history)
    write_note(run_key(params, key), seconds, hardware)
    live.close()
    resume.delete()


if __name__ == "__main__":
    run_stage(main)
