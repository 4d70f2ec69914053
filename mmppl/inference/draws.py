"""Draws of the latents and of everything that depends on them, with noise that is keyed by row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro import poutine

from ..core.batch import Batch
from ..core.program import Program
from .keyed_noise import KeyedNoise


class DrawTraces(NamedTuple):
    """The traces of one set of draws, in which every latent has the shape (draws, B, ...).

    Args:
        guide: the trace of the query guide.
        model: the trace of the model on the draws of the guide.
    """

    guide: Any
    model: Any


@contextmanager
def keyed_draws(
    seed: int, ids: np.ndarray, draws: range, *, unread: Collection[str] = (), precision: str = "fp32"
) -> Iterator[None]:
    """Let programs run for several numbered draws of each row at once, in a plate "draws" (dim −2).

    Args:
        seed: the key of the noise, together with the id of a row and the number of a draw.
        ids: (B,) ids of the rows.
        draws: the numbers of the draws.
        unread: names whose draws nobody reads (see `KeyedNoise`).
        precision: "bf16" computes the matrix products of the networks in bfloat16.

    Yields:
        Nothing.
    """
    with (
        KeyedNoise(seed, ids, len(draws), first=draws.start, unread=unread),
        pyro.plate("draws", len(draws), dim=-2),
        pyro.validation_enabled(False),
        autocast(precision),
    ):
        yield


def autocast(precision: str) -> torch.autocast:
    """Compute the matrix products of the networks in that precision.

    Args:
        precision: "fp32" or "bf16".

    Returns:
        A context.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def draw(
    program: Program,
    batch: Batch,
    ids: np.ndarray,
    draws: range,
    *,
    given: Sequence[str],
    sampled: Sequence[str] = (),
    scored: Sequence[str] = (),
    seed: int = 0,
    unread: Collection[str] = (),
    precision: str = "fp32",
) -> DrawTraces:
    """Run the query guide on what `given` shows, and then the model on the draws of the guide.

    Args:
        program: a program with fitted weights.
        batch: B rows.
        ids: see `keyed_draws`.
        draws: see `keyed_draws`.
        given: the names that the guide may see, each where it is observed.
        sampled: the names that the model samples.
        scored: the names that the model scores; it may leave out all other sites.
        seed: see `keyed_draws`.
        unread: see `keyed_draws`.
        precision: see `keyed_draws`.

    Returns:
        The two traces.
    """
    with keyed_draws(seed, ids, draws, unread=unread, precision=precision):
        batch = batch.seeing(given)
        guide = poutine.trace(program.query_guide).get_trace(batch)
        wanting = batch.wanting(sampled, scored)
        model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(wanting)
    return DrawTraces(guide, model)


def in_chunks(draws: int, step: int) -> list[range]:
    """Cut the numbers of the draws into chunks.

    Args:
        draws: the number of draws.
        step: the number of draws in a chunk.

    Returns:
        The ranges, in order; the last may be shorter.
    """
    return [range(first, min(first + step, draws)) for first in range(0, draws, step)]
