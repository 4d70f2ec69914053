"""All laws at once, checked on a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..core.hyperparameters import hyper_parameters
from ..core.program import Program
from ..data.dataset import Dataset
from . import laws
from .samples import small_data

SMALL = {"hidden": 16, "latent_dim": 4}  # for programs that have these hyper-parameters


def check_program(
    cls: type[Program],
    *,
    data: Dataset | None = None,
    move: Callable[[Program, Program], None] | None = None,
    **hyper: Any,
) -> list[str]:
    """Check that a program obeys the laws that hold for every program. This takes some seconds.

    In training mode, the values under missing entries change no bit of loss and gradients, nor of answers. A row does
    not depend on the rows beside it, on their order, or on the order of the modalities. A row of which nothing is seen
    gets the prior. Gradients are finite for one row, for nothing observed and for extreme values. Where the program has
    one affine encoder and decoder of each modality (hyper-parameters `layers` and `latent_dim`), posterior and evidence
    in a linear-Gaussian world are exact.

    Args:
        cls: the program's class.
        data: rows on which it is checked; default: a small image, signal, word and label, any of them missing.
        move: (program, other) → None, puts the weights of a program into another of its class whose modalities are in
            the opposite order; needed only where `laws.moved` does not know how.
        hyper: hyper-parameters; `hidden` and `latent_dim` are small unless they are given.

    Returns:
        the laws that were checked, by name.

    Raises:
        BrokenLaw: for the first law that the program breaks, in one line.

    Returns:
        The names of the laws that were checked.

    Raises:
        BrokenLaw: the program breaks a law; the message, one line, is about the first.

    Example:
        >>> from mmppl import load_program
        >>> from mmppl.testing import check_program
        >>> check_program(load_program("programs/mvae.py"))  # doctest: +SKIP
        ['finite_gradients', 'fillers', 'rows_alone', ..., 'exactness']
    """
    known = hyper_parameters(cls)
    small = {name: value for name, value in SMALL.items() if name in known} | hyper
    data = small_data() if data is None else data

    def made(modalities: Any) -> Program:
        torch.manual_seed(0)
        program = cls(modalities, **small).eval()
        with torch.no_grad():
            for parameter in program.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))  # so that parameters that start at 0 or 1 differ
        return program

    with torch.random.fork_rng(devices=[]):
        program, other = made(data.modalities), made(data.modalities[::-1])
        usable = data.take(program.usable(data.observed).nonzero().squeeze(-1))
        laws.finite_gradients(program, data)
        laws.fillers(program, usable)
        laws.rows_alone(program, usable)
        laws.order_of_rows(program, usable)
        laws.order_of_modalities(program, other, usable, move)
        laws.nothing_is_the_prior(program, usable)
        checked = ["finite_gradients", "fillers", "rows_alone", "order_of_rows", "order_of_modalities"]
        checked.append("nothing_is_the_prior")
        affine = {"layers", "latent_dim"} <= set(known)
        own = {name: value for name, value in hyper.items() if name not in ("latent_dim", "layers")}
        return [*checked, *(["exactness"] if affine and laws.exactness(cls, own) else [])]
