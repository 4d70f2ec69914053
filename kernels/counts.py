"""Log-probabilities of counts given decoder outputs: Poisson, negative binomial, and the same with more zeros.

The textbook forms are differences of ln Γ and of products that are as large as x ln x; at x = 10⁶ float32 leaves an
error of a nat. Here ln Γ is written with `stirling` (`codegen.gamma`), and what is large cancels on paper. Errors in
float32 are then about 10⁻⁷ x for the Poisson, and 10⁻⁶ (1 + r) for the others, r being the inverse dispersion.
"""

from torch import Tensor

from .likelihood import LikelihoodKernel

LOG_RATE_RANGE = (-30.0, 30.0)
"""Logs of means stay in this range, so that neither a mean nor a variance overflows."""

# x is 0 or at least 1: n says which, y is a number whose log exists, and `rest` is ln x! − (x ln x − x).
COUNT = (
    "m = clip(a, {}, {}); y = clip(x, 0.5, 1e30); n = clip(x, 0, 1); rest = n*(log(2*pi*y)/2 + stirling(y)); ".format(
        *LOG_RATE_RANGE
    )
)
NB = (
    "x*(log1p(r/y) - softplus(t - m)) + r*(log1p(x/r) - softplus(m - t)) - log1p(x/r)/2"
    " + stirling(x + r) - stirling(r) - rest"
)
poisson = LikelihoodKernel("poisson", COUNT + "d = m - log(y); x*(1 + d) - y*exp(d) - rest", outputs=("a",))
nb = LikelihoodKernel("nb", f"{COUNT}r = exp(t); {NB}", outputs=("a",), parameters=("t",))
zinb = LikelihoodKernel(
    "zinb",
    f"{COUNT}r = exp(t); {NB} - softplus(z) + (1 - n)*softplus(z + r*softplus(m - t))",
    outputs=("a", "z"),
    parameters=("t",),
)


def poisson_log_density(
    x: Tensor, log_mean: Tensor, mask: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Σ_d ln Poisson(x; e^log_mean) in nats.

    Args:
        x: (B, D) whole numbers from 0 on.
        log_mean: (..., B, D), clamped to LOG_RATE_RANGE.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).
    """
    return poisson(x, log_mean, mask=mask, present=present)


def nb_log_density(
    x: Tensor,
    log_mean: Tensor,
    log_inverse_dispersion: Tensor | float,
    mask: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Σ_d ln NB(x; μ, r) in nats, with μ = e^log_mean and variance μ + μ²/r, r = e^log_inverse_dispersion.

    Args:
        x: (B, D) whole numbers from 0 on.
        log_mean: (..., B, D), clamped to LOG_RATE_RANGE.
        log_inverse_dispersion: (D,), 0-d or a number.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).

    Source: ln Γ(x+r) − ln Γ(r) − ln x! + r ln r/(r+μ) + x ln μ/(r+μ), as in Lopez et al. 2018, Nature Methods 15,
    supplementary note 3.
    """
    return nb(x, log_mean, log_inverse_dispersion, mask=mask, present=present)


def zinb_log_density(
    x: Tensor,
    output: Tensor,
    log_inverse_dispersion: Tensor | float,
    mask: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Σ_d ln [π 1(x = 0) + (1 − π) NB(x; μ, r)] in nats: a zero comes from the NB, or with probability π from nowhere.

    Args:
        x: (B, D) whole numbers from 0 on.
        output: (..., B, 2D): ln μ, clamped to LOG_RATE_RANGE, then the logits of π.
        log_inverse_dispersion: (D,), 0-d or a number.
        mask: (..., B) bool; where it is False the value is 0 and nothing is read.
        present: (..., B, P) bool, the stretches of the features that exist; see `LikelihoodKernel`.

    Returns:
        (..., B).

    Source: Lopez et al. 2018, Nature Methods 15, supplementary note 3 (zero-inflated negative binomial).
    """
    return zinb(x, output, log_inverse_dispersion, mask=mask, present=present)
