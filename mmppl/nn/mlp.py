"""Building blocks of encoders and decoders. Every one maps (..., n) to (..., m) and normalises per sample, never over
the batch, so that no row's answer depends on another row or on a filler."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..base.precision import current_matmul, full_precision
from ..errors import UsageError

FEW = 256  # rows: with fewer, what it saves is not worth another kernel, whose last bits may differ
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class Linear(nn.Linear):
    """nn.Linear that has the bias added in the product's own pass, where nothing is differentiated and products are
    oneDNN's anyway (`mmppl.gemm`): PyTorch writes the bias everywhere first, a fifteenth of the time."""

    def forward(self, x: Tensor) -> Tensor:
        if self._fuses(x):
            y = torch.ops.mkldnn._linear_pointwise(x.flatten(0, -2), self.weight, self.bias, "none", [], "")
            return y.unflatten(0, x.shape[:-1])
        return super().forward(x)

    def _fuses(self, x: Tensor) -> bool:
        return (
            type(x) is Tensor  # of a subclass (Pyro follows dependencies by one) the operation knows nothing
            and not torch.is_grad_enabled()
            and x.dtype == self.weight.dtype == torch.float32
            and x.device.type == "cpu"
            and x.shape[:-1].numel() >= FEW
            and not torch.is_autocast_enabled("cpu")
            and current_matmul() == "onednn"
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        )


class FullPrecision(nn.Module):
    """Ends a network: under bf16 autocast its output returns to float32, which fusion, KL and densities need."""

    def forward(self, x: Tensor) -> Tensor:
        return full_precision(x)


class Dropout(nn.Module):
    """Inverted dropout that spends one random byte per unit (torch's spends a generator call each: a tenth of a step).

    The rate is rounded to 1/256, to at most 255/256; the scale is that of the rounded rate.
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
) -> nn.Sequential:
    """(..., inputs) → (..., outputs) through `layers` hidden layers of equal width; no hidden layer: affine.

    Args:
        norm: LayerNorm before each activation.
        dropout: on the hidden outputs (inverted: nothing changes at test time).
        narrow: leave the output in bfloat16 under autocast; for decoders, whose likelihoods read it as it lies.
    """
    if min(inputs, outputs, hidden if layers else 1) < 1 or layers < 0:
        raise UsageError(
            f"a network of {inputs} inputs, {layers} hidden layers of {hidden} and {outputs} outputs: all must be at "
            "least 1, layers 0 (latent_dim, hidden, layers, ...)."
        )
    if activation not in ACTIVATIONS:
        raise UsageError(f"no activation {activation!r}; known are {', '.join(sorted(ACTIVATIONS))}.")
    modules: list[nn.Module] = []
    for _ in range(layers):
        linear = Linear(inputs, hidden)
        if activation in ("relu", "silu", "gelu"):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        modules += [linear, *([nn.LayerNorm(hidden)] if norm else []), ACTIVATIONS[activation]()]
        modules += [Dropout(dropout)] if dropout else []
        inputs = hidden
    end = [] if narrow else [FullPrecision()]
    return nn.Sequential(*modules, Linear(inputs, outputs), *end)
