"""Log-density of classes, and of sequences of classes, given logits."""

import math
from typing import Any

import torch
from torch import Tensor

from .codegen.c_backend import working
from .codegen.dispatch import broadcast_shapes, fast, generated, masked_rows, operator, same_kind


def categorical_log_density(logits: Tensor, codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Σ_l ln softmax(logits_l)[code_l] in nats, over the L positions of a sequence (for a label, L = 1).

    Args:
        logits: (..., B, L, K), unnormalised. Those in bfloat16 are read as they are and summed in float32.
        codes: (..., B, L) integers in [0, K). Leading axes broadcast.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.

    Returns:
        (..., B).

    Raises:
        ValueError: shapes, dtypes or devices disagree.
    """
    if logits.ndim < 3 or codes.shape[-1] != logits.shape[-2] or not logits.shape[-1]:
        raise ValueError(
            f"categorical: expected logits (..., B, L, K), K ≥ 1, and codes (..., B, L); got {tuple(logits.shape)} and "
            f"{tuple(codes.shape)}."
        )
    same_kind("categorical", logits)
    lead = broadcast_shapes(codes.shape[:-1], logits.shape[:-2], mask.shape if mask is not None else ())
    kept = masked_rows("categorical", mask, lead)
    if not fast(logits):
        return _plain(logits, codes, None if kept is None else kept.reshape(lead))
    length, classes = logits.shape[-2:]
    rows = logits.expand(*lead, length, classes).reshape(math.prod(lead), length, classes).contiguous()
    return _Fast.apply(rows, codes.expand(*lead, length).reshape(math.prod(lead), length).long(), kept).reshape(lead)


def _plain(logits: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
    """The meaning, in PyTorch's differentiable operations."""
    if mask is not None:
        logits = torch.where(mask[..., None, None], logits, 0.0)
        codes = torch.where(mask.unsqueeze(-1), codes, 0)
    lead = broadcast_shapes(codes.shape, logits.shape[:-1])
    logits = logits.to(working(logits.dtype))
    chosen = logits.expand(*lead, -1).gather(-1, codes.expand(lead).unsqueeze(-1)).squeeze(-1)
    total = (chosen - torch.logsumexp(logits, -1)).sum(-1)
    return total if mask is None else torch.where(mask, total, 0.0)


class _Fast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(logits, codes, mask)
        return _forward(logits, codes, mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(g.contiguous(), *ctx.saved_tensors), None, None


_forward = operator("categorical(Tensor logits, Tensor codes, Tensor? mask) -> Tensor")(
    generated("categorical", "forward")
)
_backward = operator("categorical_backward(Tensor g, Tensor logits, Tensor codes, Tensor? mask) -> Tensor")(
    generated("categorical", "backward")
)
