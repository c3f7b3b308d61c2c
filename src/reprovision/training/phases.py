"""The phases of a training: which epochs train which layers."""

from dataclasses import dataclass

from reprovision.core.params import TrainParams


@dataclass(frozen=True)
class Phase:
    """Some epochs with a run of the learning-rate schedule of their own.

    Attributes:
        start, end: first epoch, counted from 0, and the one after the last.
        is_frozen: whether only the head is trained.
    """

    start: int
    end: int
    is_frozen: bool

    @property
    def epochs(self) -> int:
        """Their number."""
        return self.end - self.start


def phases(params: TrainParams) -> list[Phase]:
    """One phase; with `train.freeze_epochs` two, of the head and then of all layers.

    A new head at the start would send large, random gradients into the pretrained layers. Trained
    first, it distorts their features less (linear probing, then fine-tuning: Kumar and others,
    arXiv:2202.10054).

    The backbone stays in evaluation mode in both. New statistics of batch normalization, from few
    batches, cost more than they bring: of 243 photos of 128 pixels, trained on one half and
    validated on the other, 56 were misclassified with new statistics and 24 with the old ones (the
    recipe photos-finetune, n=1 each).
    """
    border, epochs = params.freeze_epochs, params.epochs
    if border is None:
        return [Phase(0, epochs, params.freeze == "backbone")]
    return [Phase(0, border, True), Phase(border, epochs, False)]
