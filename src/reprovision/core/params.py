"""params.yaml as one typed tree: read, checked and flattened.

Every stage reads the whole file before it does anything, so that a mistyped key or an impossible
value stops the run at its start. The values are explained in params.yaml itself.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from reprovision.core.errors import UserError
from reprovision.core.problems import sentence, short

Model = TypeVar("Model", bound=BaseModel)


def _refuse_booleans(value: Any) -> Any:
    """`lr: true` is a slip, not the number 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _none_is_empty(value: Any) -> Any:
    """No list is an empty one: DVC can't empty a list that it has written, but can take it away."""
    return [] if value is None else value


# after the field: what is allowed then stands in the JSON schema, from which it is told
_number = BeforeValidator(_refuse_booleans)
Count = Annotated[int, Field(ge=1), _number]
Seed = Annotated[int, Field(ge=0, lt=2**32), _number]
Positive = Annotated[float, Field(gt=0), _number]
NonNegative = Annotated[float, Field(ge=0), _number]
Fraction = Annotated[float, Field(ge=0, lt=1), _number]
ProperFraction = Annotated[float, Field(gt=0, lt=1), _number]
# far beyond what any machine can train: a slip of the hand should not fill its memory
Width = Annotated[int, Field(ge=1, le=100_000), _number]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of the tree: immutable, without unknown keys, without nan or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataParams(Section):
    source: Name
    image_size: Annotated[int, Field(ge=4, le=1024), _number] | None
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


PerStage = Literal["kernel_size", "stride", "pool"]
PER_STAGE: tuple[PerStage, ...] = get_args(PerStage)
KernelSize = Annotated[int, Field(ge=1, le=31), _number]
Pool = Annotated[int, Field(ge=1, le=8), _number]
Stride = Annotated[int, Field(ge=1, le=8), _number]


class ConvParams(Section):
    # the largest images are halved to nothing by more
    channels: Annotated[list[Width], Field(min_length=1, max_length=10)]
    kernel_size: KernelSize | list[KernelSize]
    stride: Stride | list[Stride]
    pool: Pool | list[Pool]
    padding: Literal["valid", "same"]
    layers_per_stage: Annotated[int, Field(ge=1, le=100), _number]
    batch_norm: bool

    @model_validator(mode="after")
    def _one_value_a_stage(self) -> Self:
        for name in PER_STAGE:
            if len(self.per_stage(name)) != len(self.channels):
                raise ValueError(
                    f"model.conv.{name} must be one number, or one for each of model.conv.channels"
                )
        return self

    @model_validator(mode="after")
    def _same_is_the_same(self) -> Self:
        even = [size for size in self.per_stage("kernel_size") if size % 2 == 0]
        if even and self.padding == "same":
            raise ValueError(
                f"model.conv.padding=same needs an odd model.conv.kernel_size, not {even[0]}: "
                "images would grow"
            )
        return self

    def per_stage(self, name: PerStage) -> list[int]:
        """A value for each stage; one number holds for all."""
        value: int | list[int] = getattr(self, name)
        return value if isinstance(value, list) else [value] * len(self.channels)


class ModelParams(Section):
    name: Literal["mlp", "cnn"]
    hidden: Annotated[list[Width], Field(max_length=100), BeforeValidator(_none_is_empty)]
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
    dropout: Fraction
    init: Init
    init_last: Init
    conv: ConvParams


class AugmentParams(Section):
    shift: Fraction
    rotate: Annotated[float, Field(ge=0, le=180), _number]
    scale: Fraction
    shear: Annotated[float, Field(ge=0, lt=90), _number]
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
    step_factor: Annotated[float, Field(gt=0, le=1), _number]
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
            raise ValueError("train.nesterov=true needs a train.momentum above 0")
        return self


class EvaluateParams(Section):
    batch_size: Count
    confidence: ProperFraction
    bins: Annotated[int, Field(ge=2, le=100), _number]
    mistakes: Count


class ExportParams(Section):
    tolerance: Positive


class TrackParams(Section):
    experiment: Name
    model_name: Annotated[str, Field(min_length=1, pattern=r"^[^/:']+$")]


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
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: check the path, it is relative to {Path.cwd()}"
        ) from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, where: str, loader: Any = yaml.SafeLoader) -> Any:
    """Reads YAML in UTF-8; raises a UserError where that can't be done."""
    try:
        return yaml.load(content.decode(), loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{where} is not readable YAML, correct it there: {problem}") from None


def parse_lock(content: bytes, where: str) -> dict[str, Any]:
    """The stages of a dvc.lock by name; raises a UserError where it is none."""
    # libyaml, where PyYAML has it, reads these long files ten times as fast
    tree = parse_yaml(content, where, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    stages = tree.get("stages") if isinstance(tree, dict) else None
    if not isinstance(stages, dict):
        raise UserError(f"{where} holds no stages: run `dvc repro` there, and commit it")
    return stages


def parse_section(kind: type[Model], tree: Any, where: str) -> Model:
    """Checks a tree of plain values against a model; raises a UserError of one sentence."""
    if not isinstance(tree, dict):
        raise UserError(f"{where} must hold `key: value` lines, but holds {short(tree)}")
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {sentence(kind, error)}") from None
    except RecursionError:
        raise UserError(f"{where} refers to itself: write the values out") from None


def flatten(params: BaseModel) -> dict[str, Any]:
    """The tree as dotted keys and plain values, e.g. ``{"train.lr": 0.01}``, in file order."""
    return dict(leaves("", params.model_dump(mode="json")))


def as_text(value: Any) -> str:
    """A plain value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def leaves(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """A tree of plain values as dotted keys, each after the prefix, and values."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [
        leaf
        for key, inner in value.items()
        for leaf in leaves(f"{prefix}.{key}" if prefix else key, inner)
    ]
