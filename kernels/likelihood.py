"""Log-densities of observations given decoder outputs: elementwise formulas, masked and summed over the features.

The observation is broadcast over subsets and draws in front of the batch axis. A formula is written once. Its value,
its gradient, the C code of the CPU path (`likelihood_c`) and the Triton code of the GPU path (`likelihood_triton`) are
generated from it. Without a compiler, and where the observation needs a gradient, the generated PyTorch code runs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .codegen.dispatch import broadcast_shapes, code, fast, masked_rows, operator, rows_of, same_kind, scalar
from .codegen.generate import Formula

# Log-variances that a decoder predicts stay in this range: one feature that never varies must not dominate the loss.
PREDICTED_LOG_VAR_RANGE = (-7.0, 7.0)
_formulas: dict[str, Formula] = {}


class LikelihoodKernel:
    """Σ_d f(x_d; outputs_d, parameters_d), with the fast paths and the gradient that follow from the formula.

    Args:
        name: a Python name that no other formula has.
        text: the formula of x, the outputs and the parameters; see `kernels.codegen.formula`.
        outputs: symbols of decoder outputs. On the output's last axis, the features of one come after those of another.
        parameters: symbols that stand for a number, a 0-d tensor or one value per feature.
    """

    def __init__(self, name: str, text: str, outputs: Sequence[str] = ("m",), parameters: Sequence[str] = ()) -> None:
        wrt = (*outputs, *parameters)
        self.formula = Formula(name, text, ("x", *wrt), wrt)
        self.name, self.outputs, self.parameters = name, tuple(outputs), tuple(parameters)
        _formulas[self.formula.key] = self.formula

    def __call__(
        self,
        x: Tensor,
        output: Tensor,
        *parameters: Tensor | float,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Compute the log-density in nats. Leading axes broadcast.

        The output may be bfloat16 where all else is float32: it is read as it is, and summed in float32.

        Args:
            x: (..., B, D).
            output: (..., B, K·D) for K symbols of outputs.
            *parameters: numbers, 0-d tensors or (D,).
            mask: (..., B) bool; where it is False the value is 0, nothing is computed, and not even a NaN matters.
            present: (..., B, P) bool, where P divides D: which of P equal stretches of the D features exist, such as
                the steps of a sequence. The sum is over those, and not even a NaN matters elsewhere. A parameter may
                then also be (D/P,), one value for each feature of every stretch. None: they all exist.

        Returns:
            (..., B).

        Raises:
            ValueError: shapes, dtypes or devices disagree.
        """
        size = x.shape[-1]
        if output.ndim < 2 or x.ndim < 1 or output.shape[-1] != len(self.outputs) * size:
            raise ValueError(
                f"{self.name}: expected x (..., B, D) and output (..., B, {len(self.outputs)}·D); got "
                f"{tuple(x.shape)} and {tuple(output.shape)}."
            )
        if len(parameters) != len(self.parameters):
            raise ValueError(f"{self.name}: expected the parameters {', '.join(self.parameters) or '(none)'}.")
        if present is not None:
            return self._of_stretches(x, output, parameters, mask, present)
        at = [p if isinstance(p, Tensor) else scalar(p, x.dtype, x.device) for p in parameters]
        same_kind(self.name, x, *at, stored=output)
        if any(p.ndim > 1 or (p.ndim == 1 and len(p) != size) for p in at):
            raise ValueError(f"{self.name}: a parameter is a number or a ({size},) tensor.")
        lead = broadcast_shapes(x.shape[:-1], output.shape[:-1], mask.shape if mask is not None else ())
        kept = masked_rows(self.name, mask, lead)
        if not fast(output) or x.requires_grad:
            return self._reference(x, output, at, None if kept is None else kept.reshape(lead))
        rows = rows_of(output.expand(*lead, output.shape[-1]))
        value = _Fast.apply(self, rows_of(x.expand(*lead, size)), rows, kept, *(p.contiguous() for p in at))
        return value.reshape(lead)

    def _of_stretches(
        self, x: Tensor, output: Tensor, parameters: Sequence[Tensor | float], mask: Tensor | None, present: Tensor
    ) -> Tensor:
        """The sum over the stretches that exist: each is a row of its own for the kernel, which leaves masked rows out.
        Parameters that differ between stretches make D stretches of one feature, which the reference scores."""
        number, size = present.shape[-1], x.shape[-1]
        if present.dtype != torch.bool or number < 1 or size % number:
            raise ValueError(f"{self.name}: {size} features are no {number} equal stretches, or their mask is no bool.")
        each = size // number
        there = present if mask is None else present & mask.unsqueeze(-1)
        lead = broadcast_shapes(x.shape[:-1], output.shape[:-1], there.shape[:-1])
        there = there.expand(*lead, number)
        if any(isinstance(p, Tensor) and p.ndim == 1 and len(p) != each for p in parameters):
            return self._reference_of_elements(x, output, parameters, there.repeat_interleave(each, -1))
        parts = output.unflatten(-1, (len(self.outputs), number, each)).movedim(-3, -2).flatten(-2)
        x = x.expand(*x.shape[:-2], lead[-1], size).unflatten(-1, (number, each)).flatten(-3, -2)
        parts = parts.expand(*lead, *parts.shape[-2:]).flatten(-3, -2)
        return self(x, parts, *parameters, mask=there.flatten(-2)).unflatten(-1, (lead[-1], number)).sum(-1)

    def _reference_of_elements(
        self, x: Tensor, output: Tensor, parameters: Sequence[Tensor | float], there: Tensor
    ) -> Tensor:
        """The sum over the elements that exist, (..., B, D) bool, in PyTorch's differentiable operations."""
        parts = output.to(x.dtype).unflatten(-1, (len(self.outputs), -1)).unbind(-2)
        x, *parts = (torch.where(there, t, torch.zeros_like(t)) for t in (x, *parts))
        at = [p if isinstance(p, Tensor) else scalar(p, x.dtype, x.device) for p in parameters]
        return torch.where(there, self.formula.value(x, *parts, *at), 0.0).sum(-1)

    def _reference(self, x: Tensor, output: Tensor, parameters: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """The meaning, in PyTorch's differentiable operations."""
        parts = output.to(x.dtype).unflatten(-1, (len(self.outputs), -1)).unbind(-2)
        if mask is not None:  # 0 * NaN is NaN, so the arguments have to be masked, too
            x, *parts = (torch.where(mask.unsqueeze(-1), t, torch.zeros_like(t)) for t in (x, *parts))
        total = self.formula.value(x, *parts, *parameters).sum(-1)
        return total if mask is None else torch.where(mask, total, 0.0)


class _Fast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: LikelihoodKernel, x: Tensor, output: Tensor, mask: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(x, output, mask, *parameters)
        return _forward(kernel.formula.key, x, output, list(parameters), mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, output, mask, *parameters = ctx.saved_tensors
        wanted = any(ctx.needs_input_grad[4:])
        gradients = _backward(ctx.kernel.formula.key, g.contiguous(), x, output, parameters, mask, wanted)
        return (None, None, gradients[0], None, *(gradients[1:] if wanted else [None] * len(parameters)))


@operator("likelihood(str kernel, Tensor x, Tensor output, Tensor[] parameters, Tensor? mask) -> Tensor")
def _forward(kernel: str, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None) -> Tensor:
    return code("likelihood", output).forward(_formulas[kernel], x, output, parameters, mask)


@operator(
    "likelihood_backward(str kernel, Tensor g, Tensor x, Tensor output, Tensor[] parameters, Tensor? mask, bool wanted)"
    " -> Tensor[]"
)
def _backward(
    kernel: str, g: Tensor, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None, wanted: bool
) -> list[Tensor]:
    return code("likelihood", output).backward(_formulas[kernel], g, x, output, parameters, mask, wanted)


bernoulli = LikelihoodKernel("bernoulli", "x*a - softplus(a)", outputs=("a",))
normal = LikelihoodKernel("normal", "-(x - m)**2*exp(-v)/2 - v/2 - log(2*pi)/2", parameters=("v",))
normal_predicted = LikelihoodKernel(
    "normal_predicted",
    "w = clip(v, {}, {}); -(x - m)**2*exp(-w)/2 - w/2 - log(2*pi)/2".format(*PREDICTED_LOG_VAR_RANGE),
    outputs=("m", "v"),
)
laplace = LikelihoodKernel("laplace", "-abs(x - m)*exp(-s) - s - log(2)", parameters=("s",))
student = LikelihoodKernel(
    "student",
    "v = 2 + exp(k); lgamma((v + 1)/2) - lgamma(v/2) - log(pi*v)/2 - s - (v + 1)*log1p((x - m)**2*exp(-2*s)/v)/2",
    parameters=("s", "k"),
)
EDGE = 1e-4
"""Proportions are scored as if they lay in [EDGE, 1 − EDGE]: at 0 and 1 the density of a Beta is 0 or infinite."""
LOGIT_RANGE = (-12.0, 12.0)
"""Logits of a Beta's mean stay in this range, so that neither of its two parameters becomes 0."""
beta = LikelihoodKernel(
    "beta",
    f"u = clip(x, {EDGE}, {1 - EDGE}); p = clip(a, {LOGIT_RANGE[0]}, {LOGIT_RANGE[1]}); q = exp(f);"
    " b = q*sigmoid(p); c = q*sigmoid(-p); b*(log(u) + softplus(-p)) + c*(log1p(-u) + softplus(p)) - log(u) - log1p(-u)"
    " + (f - softplus(-p) - softplus(p) - log(2*pi))/2 + stirling(q) - stirling(b) - stirling(c)",
    outputs=("a",),
    parameters=("f",),
)


def bernoulli_log_density(
    logits: Tensor, x: Tensor, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_d x ln p + (1 − x) ln(1 − p), p = sigmoid(logits), in nats.

    Args:
        logits: (..., B, D).
        x: (B, D) in [0, 1]. Grey values count as probabilities; the density is not normalised then.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return bernoulli(x, logits, mask=mask, present=present)


def normal_log_density(
    x: Tensor, loc: Tensor, log_var: Tensor | float, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_d ln N(x; loc, e^log_var) in nats.

    Args:
        x: (B, D).
        loc: (..., B, D).
        log_var: (D,), 0-d or a number.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return normal(x, loc, log_var, mask=mask, present=present)


def normal_predicted_log_density(
    x: Tensor, output: Tensor, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_d ln N(x; loc, e^log_var) in nats, where the decoder predicts both. The log-variance is clamped to
    PREDICTED_LOG_VAR_RANGE.

    Args:
        x: (B, D).
        output: (..., B, 2D): loc, then log_var.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return normal_predicted(x, output, mask=mask, present=present)


def laplace_log_density(
    x: Tensor, loc: Tensor, log_scale: Tensor | float, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_d −|x − loc|/b − ln 2b, b = e^log_scale, in nats.

    Args:
        x: (B, D).
        loc: (..., B, D).
        log_scale: (D,), 0-d or a number.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return laplace(x, loc, log_scale, mask=mask, present=present)


def student_log_density(
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor | float,
    log_df: Tensor | float,
    mask: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Σ_d ln t(x; loc, s = e^log_scale, ν = 2 + e^log_df) in nats, of Student's t with ν degrees of freedom.

    Args:
        x: (B, D).
        loc: (..., B, D).
        log_scale: (D,), 0-d or a number.
        log_df: (D,), 0-d or a number; ν is above 2, where the variance is finite.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return student(x, loc, log_scale, log_df, mask=mask, present=present)


def beta_log_density(
    x: Tensor,
    logits: Tensor,
    log_concentration: Tensor | float,
    mask: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Σ_d ln Beta(x; μφ, (1 − μ)φ) in nats, with μ = sigmoid(logits) and φ = e^log_concentration.

    Args:
        x: (B, D) in [0, 1]; what lies within EDGE of an end is scored as if it lay EDGE away.
        logits: (..., B, D), clamped to LOGIT_RANGE.
        log_concentration: (D,), 0-d or a number.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).

    Source: Ferrari & Cribari-Neto 2004, J. Appl. Statistics 31, eq. 4 (a Beta by its mean and precision).
    """
    return beta(x, logits, log_concentration, mask=mask, present=present)
