"""params.yaml as one typed tree: read, checked and flattened.

Every stage reads the whole file before it does anything, so that a mistyped key or an impossible
value stops the run at its start. The values are explained in params.yaml itself.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from reprovision.core.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def _refuse_booleans(value: Any) -> Any:
    """`lr: true` is a slip, not the number 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


_number = BeforeValidator(_refuse_booleans)
Count = Annotated[int, _number, Field(ge=1)]
Seed = Annotated[int, _number, Field(ge=0, lt=2**32)]
Positive = Annotated[float, _number, Field(gt=0)]
NonNegative = Annotated[float, _number, Field(ge=0)]
Fraction = Annotated[float, _number, Field(ge=0, lt=1)]
ProperFraction = Annotated[float, _number, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of the tree: immutable, without unknown keys, without nan or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataParams(Section):
    source: Name
    image_size: Annotated[int, _number, Field(ge=4, le=1024)] | None
    channels: Literal[1, 3] | None
    val_fraction: Fraction
    test_fraction: ProperFraction
    split_seed: Seed
    limit: Count | None
    normalize: Literal["dataset", "half", "none"]


Init = Literal[
    "default",
    "kaiming_uniform",
    "kaiming_normal",
    "xavier_uniform",
    "xavier_normal",
    "orthogonal",
]


KernelSize = Annotated[int, _number, Field(ge=1, le=31)]
Stride = Annotated[int, _number, Field(ge=1, le=8)]


class ConvParams(Section):
    channels: Annotated[list[Count], Field(min_length=1)]
    kernel_size: KernelSize | list[KernelSize]
    stride: Stride | list[Stride]
    pool: Annotated[int, _number, Field(ge=1, le=8)]
    padding: Literal["valid", "same"]
    layers_per_stage: Count
    batch_norm: bool

    @model_validator(mode="after")
    def _one_value_a_stage(self) -> Self:
        for name in ("kernel_size", "stride"):
            if len(self.per_stage(name)) != len(self.channels):
                raise ValueError(f"{name} must be one number, or one for each of channels")
        return self

    def per_stage(self, name: Literal["kernel_size", "stride"]) -> list[int]:
        """A value for each stage; one number holds for all."""
        value: int | list[int] = getattr(self, name)
        return value if isinstance(value, list) else [value] * len(self.channels)


class ModelParams(Section):
    name: Literal["mlp", "cnn"]
    hidden: list[Count]
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
    dropout: Fraction
    init: Init
    init_last: Init
    conv: ConvParams


class AugmentParams(Section):
    shift: Fraction
    rotate: Annotated[float, _number, Field(ge=0, le=180)]
    scale: Fraction
    shear: Annotated[float, _number, Field(ge=0, lt=90)]
    flip: bool


class TrainParams(Section):
    epochs: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "muon"]
    lr: Positive
    muon_lr: Positive
    momentum: Fraction
    nesterov: bool
    betas: tuple[Fraction, Fraction]
    weight_decay: NonNegative
    schedule: Literal["constant", "cosine", "one_cycle", "step"]
    warmup: Fraction
    step_epochs: Count
    step_factor: Annotated[float, _number, Field(gt=0, le=1)]
    loss: Literal["cross_entropy", "softmax_cross_entropy"]
    label_smoothing: Fraction
    ema: Fraction
    augment: AugmentParams
    keep: Literal["best", "last"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16"]
    threads: Count | Literal["auto"]
    compile: bool

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class EvaluateParams(Section):
    batch_size: Count
    confidence: ProperFraction
    bins: Annotated[int, _number, Field(ge=2, le=100)]
    mistakes: Count


class ExportParams(Section):
    tolerance: Positive


class TrackParams(Section):
    experiment: Name
    model_name: Annotated[str, Field(min_length=1, pattern=r"^[^/:]+$")]


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    data: DataParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    track: TrackParams

    @model_validator(mode="after")
    def _best_needs_validation(self) -> Self:
        if self.train.keep == "best" and self.data.val_fraction == 0:
            raise ValueError(
                "train.keep=best needs validation images: "
                "set data.val_fraction above 0, or train.keep=last"
            )
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and checks params.yaml.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or missing, or a value is of
            the wrong type or out of range; the sentence names file, key, value and what is allowed.
    """
    return parse_section(Params, load_yaml(path), str(path))


def load_yaml(path: str | Path) -> Any:
    """Reads a YAML file; raises a UserError where that can't be done."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: check the path, it is relative to {Path.cwd()}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path} is not readable YAML, correct it there: {problem}") from None


def parse_section(kind: type[Model], tree: Any, where: str) -> Model:
    """Checks a tree of plain values against a model; raises a UserError of one sentence."""
    if not isinstance(tree, dict):
        raise UserError(f"{where} must hold `key: value` lines, but holds {_short(tree)}")
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = [_sentence(kind, dict(problem)) for problem in error.errors(include_url=False)]
        raise UserError(f"{where}: {'; '.join(problems[:3])}") from None
    except RecursionError:
        raise UserError(f"{where} refers to itself: write the values out") from None


def flatten(params: BaseModel) -> dict[str, Any]:
    """The tree as dotted keys and plain values, e.g. ``{"train.lr": 0.01}``, in file order."""
    return dict(_leaves("", params.model_dump(mode="json")))


def _leaves(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [
        leaf
        for key, inner in value.items()
        for leaf in _leaves(f"{prefix}.{key}" if prefix else key, inner)
    ]


def _sentence(kind: type[BaseModel], problem: dict[str, Any]) -> str:
    """One pydantic problem in words: key, value, what is allowed."""
    # pydantic's location also names the branches of a union it tried: those aren't keys
    location = [part for part in problem["loc"] if isinstance(part, int) or part.isidentifier()]
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        return f"{key} is not a known key{_hint(kind, key)}"
    if problem["type"] == "missing":
        return f"{key} is missing: add it"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return message if not key else f"{key}: {message}"
    allowed = message[0].lower() + message[1:]
    return f"{key} is {_short(problem['input'])}, but {allowed.replace('input should', 'should')}"


def _hint(kind: type[BaseModel], key: str) -> str:
    """Suggests the known key that looks most like an unknown one, or lists those beside it."""
    known = _keys(kind)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if close:
        return f": did you mean {close[0]}?"
    parent = key.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    return f": the known ones there are {', '.join(beside)}" if beside else ""


def _keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in kind.model_fields.items():
        found.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, f"{prefix}{name}.")
    return found


def _short(value: Any) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
