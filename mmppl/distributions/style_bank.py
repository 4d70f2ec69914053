"""Styles: private latents of training rows, kept for rows in which the modality is not seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gaussian import LOG_VAR_RANGE, Gaussian, standard_normal
from .mixture import MixtureOfExperts, mixture_of_experts


class StyleBank(nn.Module):
    """The posteriors of one private latent, and the classes, of the latest training rows. They are buffers and thus
    part of the run.

    Args:
        rows: how many rows are kept.
        size: P, the size of the latent.
        classes: how many classes there are.

    Attributes:
        loc: (rows, P) means.
        log_var: (rows, P) log-variances.
        codes: (rows,) codes of the classes, `UNKNOWN` where a row has none.
        kept: (rows,) bool, False where no row has been kept yet.
        next: the place that the next row takes.

    Example:
        >>> bank = StyleBank(rows=4, size=1, classes=2)
        >>> bank.keep(torch.tensor([[3.0]]), torch.zeros(1, 1), torch.tensor([True]), torch.tensor([0]))
        >>> not_seen = torch.tensor([False])
        >>> bank.another(torch.zeros(1, 1), torch.zeros(1, 1), not_seen).mean
        tensor([[3.]])
    """

    UNKNOWN = -1  # class of a row without one

    def __init__(self, rows: int, size: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("loc", torch.zeros(rows, size))
        self.register_buffer("log_var", torch.zeros(rows, size))
        self.register_buffer("codes", torch.full((rows,), self.UNKNOWN))
        self.register_buffer("kept", torch.zeros(rows, dtype=torch.bool))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    loc: Tensor
    log_var: Tensor
    codes: Tensor
    kept: Tensor
    next: Tensor

    @torch.no_grad()
    def keep(self, loc: Tensor, log_var: Tensor, observed: Tensor, codes: Tensor) -> None:
        """Put the observed rows of a batch in the place of the oldest ones.

        Args:
            loc: (B, P) means of the posteriors.
            log_var: (B, P) log-variances of the posteriors.
            observed: (B,) bool; the other rows are not kept.
            codes: (B,) codes of the classes, `UNKNOWN` where a row has none.
        """
        number = min(len(self.kept), len(observed))
        at = (self.next + torch.arange(number, device=observed.device)) % len(self.kept)
        new = observed[:number]
        for held, values in ((self.loc, loc), (self.log_var, log_var), (self.codes, codes), (self.kept, observed)):
            rows = new.reshape(-1, *[1] * (held.ndim - 1))
            held.index_copy_(0, at, torch.where(rows, values[:number].to(held.dtype), held[at]))
        self.next.copy_((self.next + number) % len(self.kept))

    def another(self, loc: Tensor, log_var: Tensor, seen: Tensor) -> MixtureOfExperts:
        """The row's own posterior where the modality is seen, else the posterior of any kept row, all equally likely.

        Args:
            loc: (B, P) means of the rows' own posteriors.
            log_var: (B, P) log-variances of the rows' own posteriors.
            seen: (B,) bool.

        Returns:
            A distribution of batch shape (B,) and event shape (P,); N(0, I) while no row is kept.
        """
        experts = [
            torch.cat([own.unsqueeze(0), kept.unsqueeze(1).expand(-1, *own.shape)])
            for own, kept in ((loc, self.loc), (log_var, self.log_var))
        ]
        chosen = torch.cat([seen.unsqueeze(-1), ~seen.unsqueeze(-1) & self.kept], -1)
        return mixture_of_experts(Gaussian(*experts), chosen, standard_normal(loc.shape[-1], like=loc))

    def average(self, loc: Tensor, log_var: Tensor, seen: Tensor, codes: Tensor) -> Gaussian:
        """The row's own posterior where the modality is seen, else the average style of its class.

        The average is the mean over the means of the kept rows of the class, taken as a point: its standard deviation
        is e^−6.

        Args:
            loc: (B, P) means of the rows' own posteriors.
            log_var: (B, P) log-variances of the rows' own posteriors.
            seen: (B,) bool.
            codes: (B,) codes of the classes, `UNKNOWN` where no class is known.

        Returns:
            A Gaussian of batch shape (B,) and event shape (P,); N(0, I) where no class is known or none of its rows is
            kept.
        """
        members = (self.codes.unsqueeze(-1) == torch.arange(self.classes, device=codes.device)) & self.kept.unsqueeze(
            -1
        )
        count = members.sum(0)
        means = (members.to(self.loc.dtype).mT @ self.loc) / count.clamp_min(1).unsqueeze(-1)
        known = codes.clamp_min(0)
        there = (codes != self.UNKNOWN) & (count[known] > 0)
        point = torch.where(there, LOG_VAR_RANGE[0], 0.0).unsqueeze(-1)
        mean = torch.where(there.unsqueeze(-1), means[known], 0.0)
        own = seen.unsqueeze(-1)
        return Gaussian(torch.where(own, loc, mean), torch.where(own, log_var, point))
