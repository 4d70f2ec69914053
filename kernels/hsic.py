"""The Hilbert-Schmidt independence criterion: how far two samples of the same rows are from independent.

Source: Gretton, Bousquet, Smola, Schölkopf 2005, "Measuring statistical dependence with Hilbert-Schmidt norms".
"""

import torch
from torch import Tensor

from .mmd import Kernel, squared_distances
from .pairwise import left_out


def hsic(x: Tensor, y: Tensor, x_kernel: Kernel, y_kernel: Kernel, *, weight: Tensor | None = None) -> Tensor:
    """HSIC of the pairs (x_i, y_i): MMD² between them and all pairs (x_i, y_j), under the product of the kernels.

    It is the V-statistic tr(KHLH)/n² ≥ 0, of the order 1/n for independent samples. It holds n×n numbers in memory.

    Args:
        x: (n, D).
        y: (n, E).
        x_kernel: kernel of squared distances between rows of x, e.g. `rbf(1.0)`.
        y_kernel: kernel of squared distances between rows of y.
        weight: (n,) non-negative weights of the rows, differentiable; None: ones. A row of weight 0 may hold anything.

    Returns:
        A scalar; 0 where no weight is left.

    Raises:
        ValueError: the shapes disagree.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"hsic: expected x (n, D) and y (n, E); got {tuple(x.shape)} and {tuple(y.shape)}.")
    with torch.autocast(x.device.type, enabled=False):
        w = x.new_ones(len(x)) if weight is None else weight.to(x.dtype)
        share = w / w.sum().clamp_min(torch.finfo(w.dtype).tiny)
        centred = []
        for sample, kernel in ((x, x_kernel), (y, y_kernel)):
            kept = left_out(sample, w)
            k = kernel(squared_distances(kept, kept))
            of_rows = k @ share
            centred.append(k - of_rows - of_rows.unsqueeze(-1) + share @ of_rows)
        return share @ (centred[0] * centred[1]) @ share
