"""What the model families share: activations, initial values, the fully connected head."""

from collections.abc import Callable

from torch import Tensor, nn

from reprovision.core.params import ModelParams

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "default": lambda weight: weight,
    "kaiming_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "orthogonal": nn.init.orthogonal_,
}


def head(params: ModelParams, inputs: int, classes: int) -> list[nn.Module]:
    """Flatten, the hidden layers with activation and dropout, and the last layer.

    Without hidden layers, dropout comes before the last.
    """
    dropout: list[nn.Module] = [nn.Dropout(params.dropout)] if params.dropout else []
    layers: list[nn.Module] = [nn.Flatten()]
    for width in params.hidden:
        layers += [nn.Linear(inputs, width), ACTIVATIONS[params.activation](), *dropout]
        inputs = width
    return [*layers, *([] if params.hidden else dropout), nn.Linear(inputs, classes)]


def initialize(network: nn.Sequential, params: ModelParams) -> nn.Sequential:
    """Draws the weights of all layers by `model.init`, those of the last by `model.init_last`.

    Biases and ``default`` layers keep PyTorch's own initial values.
    """
    *earlier, last = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in earlier:
        INITS[params.init](layer.weight)
    INITS[params.init_last](last.weight)
    return network
