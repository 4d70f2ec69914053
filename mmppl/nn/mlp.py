"""Building blocks of encoders and decoders. Every one maps (..., n) to (..., m) and normalises per sample, never over
the batch, so that no row's answer depends on another row or on a filler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..base.precision import current_matmul, full_precision
from ..errors import UsageError

WIDE = 100  # inputs; beyond, a linear path is scaled down,
FASTEST = 5.0  # and below, a linear map moves faster, up to so many times
FEW = 256  # rows; with fewer, the fused product saves too little to accept that its last bits may differ
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class Linear(nn.Linear):
    """nn.Linear that adds the bias within the matrix product, where no gradient is needed and products go through
    oneDNN (`mmppl.base.precision`). PyTorch writes the bias everywhere first, which takes a fifteenth of the time.

    Args:
        inputs: the size of the input.
        outputs: the size of the output.
        full: whether the output is returned to float32 under bf16 autocast, as at the end of a network (see
            `FullPrecision`).
    """

    def __init__(self, inputs: int, outputs: int, *, full: bool = False) -> None:
        super().__init__(inputs, outputs)
        self.full = full

    def forward(self, x: Tensor) -> Tensor:
        if self._fuses(x):
            y = torch.ops.mkldnn._linear_pointwise(x.flatten(0, -2), self.weight, self.bias, "none", [], "")
            return y.unflatten(0, x.shape[:-1])  # float32 already
        y = super().forward(x)
        return full_precision(y) if self.full else y

    def _fuses(self, x: Tensor) -> bool:
        return (
            type(x) is Tensor  # the operation does not know subclasses, by one of which Pyro follows dependencies
            and not torch.is_grad_enabled()
            and x.dtype == self.weight.dtype == torch.float32
            and x.device.type == "cpu"
            and x.shape[:-1].numel() >= FEW
            and not torch.is_autocast_enabled("cpu")
            and current_matmul() == "onednn"
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        )


class FullPrecision(nn.Module):
    """The end of a network: under bf16 autocast it returns the output to float32, which products of experts, KLs and
    densities need.
    """

    def forward(self, x: Tensor) -> Tensor:
        return full_precision(x)


class Dropout(nn.Module):
    """Inverted dropout that spends one random byte per unit. PyTorch's spends a generator call per unit: a tenth of a
    step.

    Args:
        rate: the share of units that are dropped, rounded to 1/256 and at most 255/256. The scale is that of the
            rounded rate.

    Raises:
        UsageError: the rate is not in [0, 1).

    Example:
        >>> import torch
        >>> layer = Dropout(0.5).train()
        >>> layer(torch.ones(8)).unique()  # dropped, or doubled
        tensor([0., 2.])
        >>> layer.eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise UsageError(f"dropout {rate} is not in [0, 1).")
        self.dropped = min(round(256 * rate), 255)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 8),), device=x.device)  # eight bytes each
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept * (256 / (256 - self.dropped))

    def extra_repr(self) -> str:
        return f"{self.dropped}/256"


class LinearPath(nn.Module):
    """A linear map beside a network: x ↦ s W x + b + network(x), with s = min(1, 100 / inputs).

    What a linear map can say, it says with few numbers to learn. The network's last layer begins at zero, and a fit
    decays the network's matrices (`mmppl.train`), not W: the network adds what the data ask for. A step of Adam moves
    each of W's numbers equally far, so that without s the output of an input of 20,000 columns would jump.

    Args:
        network: from (..., inputs) to (..., outputs); its last layer is affine.
        inputs: the size of the input.
        outputs: the size of the output.
        gain: standard deviation of the output at the start, for an input of unit variance; small where W should not
            keep what it began with in directions that no training row has.
        full: see `Linear`.
    """

    def __init__(
        self, network: nn.Sequential, inputs: int, outputs: int, *, gain: float = 0.5, full: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        for parameter in network[-1].parameters():
            nn.init.zeros_(parameter)
        self.scale = min(1.0, WIDE / inputs)
        self.linear = Linear(inputs, outputs, full=full)
        nn.init.normal_(self.linear.weight, std=gain / (self.scale * inputs**0.5))
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x if self.scale == 1 else x * self.scale) + self.network(x)


def speeds_of(module: nn.Module) -> dict[nn.Parameter, float]:
    """Factors of the learning rate of linear maps, those beside a network and those that stand for one (layers=0).

    Their numbers are few and grow to the size of the effects that they describe, while a weight among many in a hidden
    layer hardly moves: with one rate for both, the linear part of a model is learned last.

    Args:
        module: a program, or a part of one.

    Returns:
        The parameters that move faster, and the factor of each: of matrices 100 over the inputs, from 1 to `FASTEST`;
        of biases `FASTEST`.
    """
    maps: list[Any] = [part.linear for part in module.modules() if isinstance(part, LinearPath)]
    alone = [part for part in module.modules() if isinstance(part, nn.Sequential) and len(part) == 1]
    maps += [part[0] for part in alone if isinstance(part[0], Linear)]
    speeds = {found.weight: min(max(WIDE / found.in_features, 1.0), FASTEST) for found in maps}
    speeds |= {found.bias: FASTEST for found in maps}  # among them log-variances, which have a long way to go
    return {parameter: speed for parameter, speed in speeds.items() if speed > 1}


def mlp(
    inputs: int,
    hidden: int,
    outputs: int,
    *,
    layers: int = 1,
    activation: str = "relu",
    dropout: float = 0.0,
    norm: bool = False,
    narrow: bool = False,
    linear: float = 0.0,
) -> nn.Module:
    """Make a perceptron from (..., inputs) to (..., outputs).

    Args:
        inputs: the size of the input.
        hidden: the width of each hidden layer.
        outputs: the size of the output.
        layers: the number of hidden layers; with 0 the network is affine.
        activation: of the hidden layers: relu, silu, softplus, tanh or gelu.
        dropout: rate of the dropout on the hidden outputs (inverted: nothing changes at test time).
        norm: whether LayerNorm comes before each activation.
        narrow: whether the output stays in bfloat16 under autocast, for decoders whose likelihoods read it as it is.
        linear: if positive, there is a linear path beside the hidden layers, with this gain (`LinearPath`).

    Returns:
        The network.

    Raises:
        UsageError: a size is below 1, or there is no such activation.

    Example:
        >>> mlp(4, 16, 2)(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    if min(inputs, outputs, hidden if layers else 1) < 1 or layers < 0:
        raise UsageError(
            f"a network of {inputs} inputs, {layers} hidden layers of {hidden} and {outputs} outputs: all must be at "
            "least 1, layers 0 (latent_dim, hidden, layers, ...)."
        )
    if activation not in ACTIVATIONS:
        raise UsageError(f"no activation {activation!r}; known are {', '.join(sorted(ACTIVATIONS))}.")
    modules: list[nn.Module] = []
    width = inputs
    for _ in range(layers):
        layer = Linear(width, hidden)
        if activation in ("relu", "silu", "gelu"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        modules += [layer, *([nn.LayerNorm(hidden)] if norm else []), ACTIVATIONS[activation]()]
        modules += [Dropout(dropout)] if dropout else []
        width = hidden
    network = nn.Sequential(*modules, Linear(width, outputs, full=not narrow))
    return LinearPath(network, inputs, outputs, gain=linear, full=not narrow) if linear and layers else network
