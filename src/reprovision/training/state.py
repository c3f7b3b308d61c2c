"""The state of a training run: all that the next epoch starts from."""

from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from reprovision.models.classifier import Classifier
from reprovision.results.history import Epoch
from reprovision.training.ema import EMA


@dataclass
class TrainingState:
    """Model, optimizers, EMA and history after an epoch.

    Attributes:
        classifier: the model that is trained.
        optimizers: each parameter belongs to one of them.
        ema: exponential moving average of the model, if `train.ema` asks for one.
        best: parameters and buffers to keep; with `train.keep: best`, of the best epoch so far.
        history: one entry per epoch so far.
    """

    classifier: Classifier
    optimizers: list[torch.optim.Optimizer]
    ema: EMA | None
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    @property
    def saved_model(self) -> Classifier:
        """The model that is validated and saved: the EMA if there is one."""
        return cast(Classifier, self.ema.module) if self.ema else self.classifier

    def state_dict(self) -> dict[str, Any]:
        """Everything as tensors and plain values; the tensors are not copied."""
        return {
            "classifier": self.classifier.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema.module.state_dict() if self.ema else None,
            "best": self.best,
            "history": [asdict(epoch) for epoch in self.history],
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, in a state started from the same params."""
        self.classifier.load_state_dict(content["classifier"])
        for optimizer, values in zip(self.optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        if self.ema:
            self.ema.module.load_state_dict(content["ema"])
        self.best = content["best"]
        self.history = [Epoch(**epoch) for epoch in content["history"]]
