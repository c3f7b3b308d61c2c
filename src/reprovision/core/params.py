"""params.yaml as one typed tree.

Every stage validates the whole file first, so that a mistyped key or an impossible value stops the
run at its start. The values are explained in params.yaml itself.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from reprovision.core.numerics import Numerics
from reprovision.core.yaml_files import Section, load_yaml, parse_section


def _refuse_booleans(value: Any) -> Any:
    """`lr: true` is a mistake, not the number 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _none_is_empty(value: Any) -> Any:
    """Null is an empty list: DVC cannot empty a list that it has written, but can remove it."""
    return [] if value is None else value


_number = BeforeValidator(_refuse_booleans)
# the upper limits refuse typing mistakes, which would fill the memory or overflow torch's numbers
Count = Annotated[int, Field(ge=1, le=10**9), _number]
SmallCount = Annotated[int, Field(ge=1, le=1024), _number]
Width = Annotated[int, Field(ge=1, le=100_000), _number]
Seed = Annotated[int, Field(ge=0, lt=2**32), _number]
Positive = Annotated[float, Field(gt=0, le=1e9), _number]
NonNegative = Annotated[float, Field(ge=0, le=1e9), _number]
Fraction = Annotated[float, Field(ge=0, lt=1), _number]
Probability = Annotated[float, Field(ge=0, le=1), _number]
ProperFraction = Annotated[float, Field(gt=0, lt=1), _number]
Name = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(ge=4, le=1024), _number]


class DataParams(Section):
    source: Name
    classes: Annotated[list[Name], Field(min_length=2)] | None
    group: Name | None
    on_bad_image: Literal["fail", "skip"]
    image_size: Annotated[
        Side | tuple[Side, Side] | None,
        Field(description="a number or two numbers [height, width], from 4 to 1024"),
    ]
    resize: Literal["crop", "squash", "pad"]
    interpolation: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
    background: Literal["white", "black", "gray"]
    bits: Annotated[int, Field(ge=8, le=16), _number]
    channels: Annotated[Literal[1, 3], _number] | None
    val_fraction: Fraction
    test_fraction: ProperFraction
    split_seed: Seed
    limit: Count | None
    normalize: Literal["dataset", "half", "none"]

    @property
    def name(self) -> str:
        """What people call the source: `mnist` for data/mnist.yaml, `photos` for data/photos."""
        path = Path(self.source)
        return path.stem if path.suffix == ".yaml" else path.name


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
    # more stages would halve even the largest images to nothing
    channels: Annotated[list[Width], Field(min_length=1, max_length=10)]
    kernel_size: KernelSize | list[KernelSize]
    stride: Stride | list[Stride]
    pool: Pool | list[Pool]
    padding: Literal["valid", "same"]
    layers_per_stage: Annotated[int, Field(ge=1, le=100), _number]
    batch_norm: bool
    residual: bool
    global_pool: bool | Literal["auto"]

    @model_validator(mode="after")
    def _one_value_per_stage(self) -> Self:
        for name in PER_STAGE:
            if len(self.per_stage(name)) != len(self.channels):
                raise ValueError(
                    f"model.conv.{name} must be one number, or one for each of model.conv.channels"
                )
        return self

    @model_validator(mode="after")
    def _same_padding_needs_odd_kernels(self) -> Self:
        even = [size for size in self.per_stage("kernel_size") if size % 2 == 0]
        if even and self.padding == "same":
            raise ValueError(
                f"model.conv.padding=same needs an odd model.conv.kernel_size, not {even[0]}: "
                "images would grow"
            )
        return self

    @model_validator(mode="after")
    def _residual_needs_same_padding(self) -> Self:
        if self.residual and self.padding != "same":
            raise ValueError(
                "model.conv.residual=true needs model.conv.padding=same: the input and the output "
                "of a stage must have one size"
            )
        return self

    def per_stage(self, name: PerStage) -> list[int]:
        """One value per stage; a single number applies to all of them."""
        value: int | list[int] = getattr(self, name)
        return value if isinstance(value, list) else [value] * len(self.channels)


class ModelParams(Section):
    name: Annotated[
        str,
        Field(
            pattern=r"^(timm/)?[A-Za-z0-9_.]+$",
            max_length=200,
            description="the name of a network, e.g. cnn, resnet18 or timm/efficientnet_lite0",
        ),
    ]
    weights: Annotated[str, Field(min_length=1)] | None
    weights_sha256: Annotated[
        Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None,
        Field(description="64 hexadecimal digits, in lower case"),
    ]
    hidden: Annotated[list[Width], Field(max_length=100), BeforeValidator(_none_is_empty)]
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
    dropout: Fraction
    init: Init
    init_last: Init
    conv: ConvParams

    @property
    def is_own(self) -> bool:
        """Whether the network is built here, from params, and not by a library."""
        return self.name in ("mlp", "cnn")


class AugmentParams(Section):
    shift: Fraction
    rotate: Annotated[float, Field(ge=0, le=180), _number]
    scale: Fraction
    shear: Annotated[float, Field(ge=0, lt=90), _number]
    flip: bool
    crop: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5), _number]
    erase: Probability
    mixup: NonNegative
    cutmix: NonNegative


class TrainParams(Section):
    epochs: Count
    batch_size: Count
    accumulate: Count
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "muon"]
    lr: Positive
    muon_lr: Positive
    momentum: Fraction
    nesterov: bool
    betas: Annotated[tuple[Fraction, Fraction], Field(description="two numbers, e.g. [0.9, 0.999]")]
    weight_decay: NonNegative
    clip_norm: Positive | None
    schedule: Literal["constant", "cosine", "one_cycle", "step"]
    warmup: Fraction
    step_epochs: Count
    step_factor: Annotated[float, Field(gt=0, le=1), _number]
    loss: Literal["cross_entropy", "softmax_cross_entropy"]
    label_smoothing: Fraction
    balance: Literal["none", "loss", "sampler"]
    ema: Fraction
    augment: AugmentParams
    freeze: Literal["none", "backbone"]
    freeze_epochs: Count | None
    backbone_lr: Positive
    keep: Literal["best", "last"]
    patience: Count | None
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16"]
    processes: SmallCount
    threads: SmallCount | Literal["auto"]
    compile: bool

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("train.nesterov=true needs a train.momentum above 0")
        return self

    @model_validator(mode="after")
    def _every_process_needs_images(self) -> Self:
        if self.processes > 1 and self.batch_size < 2 * self.processes:
            raise ValueError(
                f"train.batch_size={self.batch_size} leaves fewer than two images for each of "
                f"train.processes={self.processes}: set it higher, or use fewer processes"
            )
        return self

    @model_validator(mode="after")
    def _freeze_epochs_are_some_of_a_frozen_backbone(self) -> Self:
        if self.freeze_epochs is None:
            return self
        if self.freeze != "backbone":
            raise ValueError(
                "train.freeze_epochs needs train.freeze=backbone: set it, or "
                "train.freeze_epochs=null"
            )
        if self.freeze_epochs >= self.epochs:
            raise ValueError(
                f"train.freeze_epochs={self.freeze_epochs} leaves none of train.epochs="
                f"{self.epochs} for all layers: set it lower, or to null"
            )
        return self


class EvaluateParams(Section):
    batch_size: Count
    confidence: ProperFraction
    bins: Annotated[int, Field(ge=2, le=100), _number]
    mistakes: Count
    top_k: Count
    flip: bool


class ExportParams(Section):
    tolerance: Positive
    quantize: Literal["none", "int8"]
    max_drop: Fraction


class TrackParams(Section):
    experiment: Name
    model_name: Annotated[
        Annotated[str, Field(pattern=r"^[^/:']+$")] | None,
        Field(description="a name without /, : and '"),
    ]


class Params(Section):
    """All of params.yaml."""

    numerics: Numerics
    seed: Seed
    data: DataParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    track: TrackParams

    @model_validator(mode="after")
    def _portable_leaves_no_choice(self) -> Self:
        allowed = {
            "device": ("auto", "cpu"),
            "precision": ("auto", "fp32"),
            "compile": (False,),
        }
        for name, values in allowed.items():
            value = getattr(self.train, name)
            if self.is_portable and value not in values:
                raise ValueError(
                    f"numerics=portable computes in fp32 on the CPU, without compiler: set "
                    f"numerics=native for train.{name}={str(value).lower()}"
                )
        if self.is_portable and self.train.threads == "auto":
            raise ValueError(
                "numerics=portable needs a number of train.threads, because results depend on it: "
                "set one, e.g. 2, or numerics=native"
            )
        return self

    @model_validator(mode="after")
    def _validation_needs_images(self) -> Self:
        if self.train.keep == "best" and self.data.val_fraction == 0:
            raise ValueError(
                "train.keep=best needs validation images: "
                "set data.val_fraction above 0, or train.keep=last"
            )
        if self.train.patience is not None and self.data.val_fraction == 0:
            raise ValueError(
                "train.patience needs validation images: "
                "set data.val_fraction above 0, or train.patience=null"
            )
        return self

    @model_validator(mode="after")
    def _weights_belong_to_networks_of_libraries(self) -> Self:
        if self.model.is_own and self.model.weights is not None:
            raise ValueError(
                f"model.name={self.model.name} has no pretrained parameters: set "
                "model.weights=null, or another model.name, e.g. resnet18"
            )
        if self.model.weights_sha256 and self.model.weights in (None, "pretrained"):
            raise ValueError(
                "model.weights_sha256 is the digest of a file, and model.weights names none: set "
                "model.weights_sha256=null"
            )
        if self.train.backbone_lr != 1 and (self.model.is_own or self.train.optimizer == "muon"):
            raise ValueError(
                "train.backbone_lr needs a network of torchvision or timm, and another "
                "train.optimizer than muon: set train.backbone_lr=1"
            )
        if self.train.freeze == "backbone" and self.model.weights is None:
            raise ValueError(
                "train.freeze=backbone needs model.weights, because a network that has learned "
                "nothing sees nothing: set train.freeze=none, or model.weights"
            )
        return self

    @property
    def is_portable(self) -> bool:
        """Whether results must be the same bytes on every x86-64 processor."""
        return self.numerics == "portable"

    @property
    def registered_model(self) -> str:
        """The name of the model in MLflow's registry, by default that of the source."""
        return self.track.model_name or re.sub(r"[:']", "-", self.data.name)


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and validates params.yaml.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or missing, or a value is not
            allowed; the sentence names file, key and value.
    """
    return parse_section(Params, load_yaml(path), str(path))
