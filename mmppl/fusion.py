"""Fusion: experts and what is seen → the posterior distribution of the latent."""

from torch import Tensor

from .gaussian import Gaussian
from .kernels.poe import gaussian_product


def product_of_experts(loc: Tensor, log_var: Tensor, seen: Tensor) -> Gaussian:
    """q(z | seen) ∝ N(0, I) Π_{m seen} N(loc_m, e^log_var_m).

    Args: loc, log_var (M, B, D); seen (B, M) or (S, B, M) bool.
    Returns: Gaussian of batch shape (B,) or (S, B); exactly the prior where nothing is seen.
    """
    return Gaussian(*gaussian_product(loc, log_var, seen))
