"""Log-density of classes, and of sequences of classes, given logits."""

import math
from typing import Any

import torch
from torch import Tensor

from .codegen.c_backend import working
from .codegen.dispatch import broadcast_shapes, fast, generated, masked_rows, operator, same_kind


def categorical_log_density(
    logits: Tensor, codes: Tensor, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_l ln softmax(logits_l)[code_l] in nats, over the L positions of a sequence (for a label, L = 1).

    Args:
        logits: (..., B, L, K), unnormalised. Those in bfloat16 are read as they are and summed in float32.
        codes: (..., B, L) integers in [0, K). Leading axes broadcast.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, where P divides L: which of P equal stretches of the positions exist. The sum is over
            those, and nothing is read elsewhere. None: they all exist.

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
    if present is not None:
        return _of_stretches(logits, codes, mask, present)
    same_kind("categorical", logits)
    lead = broadcast_shapes(codes.shape[:-1], logits.shape[:-2], mask.shape if mask is not None else ())
    kept = masked_rows("categorical", mask, lead)
    if not fast(logits):
        return _plain(logits, codes, None if kept is None else kept.reshape(lead))
    length, classes = logits.shape[-2:]
    rows = logits.expand(*lead, length, classes).reshape(math.prod(lead), length, classes).contiguous()
    return _Fast.apply(rows, codes.expand(*lead, length).reshape(math.prod(lead), length).long(), kept).reshape(lead)


def _of_stretches(logits: Tensor, codes: Tensor, mask: Tensor | None, present: Tensor) -> Tensor:
    """The sum over the stretches that exist: each is a row of its own, and masked rows are left out."""
    (length, classes), number = logits.shape[-2:], present.shape[-1]
    if present.dtype != torch.bool or number < 1 or length % number:
        raise ValueError(f"categorical: {length} positions are no {number} equal stretches, or their mask is no bool.")
    there = present if mask is None else present & mask.unsqueeze(-1)
    lead = broadcast_shapes(codes.shape[:-1], logits.shape[:-2], there.shape[:-1])
    logits = logits.expand(*lead, length, classes).unflatten(-2, (number, -1)).flatten(-4, -3)
    codes = codes.expand(*codes.shape[:-2], lead[-1], length).unflatten(-1, (number, -1)).flatten(-3, -2)
    rows = categorical_log_density(logits, codes, there.expand(*lead, number).flatten(-2))
    return rows.unflatten(-1, (lead[-1], number)).sum(-1)


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
