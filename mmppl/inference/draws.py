"""Draws of the latents and of what follows from them, under noise that is keyed by row."""

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
    """Traces of the query guide and of the model on its draws; every latent has the shape (draws, B, ...)."""

    guide: Any
    model: Any


@contextmanager
def keyed_draws(
    seed: int, ids: np.ndarray, draws: range, *, unread: Collection[str] = (), precision: str = "fp32"
) -> Iterator[None]:
    """Inside, programs run for the numbered draws of each row at once, in a plate "draws" (dim −2).

    Args:
        seed: key of the noise, together with a row's id and the number of a draw.
        ids: (B,) ids of the rows.
        draws: numbers of the draws.
        unread: names whose draws nobody reads (see `KeyedNoise`).
        precision: "bf16" runs the networks' matrix products in bfloat16.
    """
    with (
        KeyedNoise(seed, ids, len(draws), first=draws.start, unread=unread),
        pyro.plate("draws", len(draws), dim=-2),
        pyro.validation_enabled(False),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        yield


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
    """Run the query guide on what `given` shows, then the model on the guide's draws.

    Args:
        given: names that the guide may look at, each where it is observed.
        sampled: names that the model samples.
        scored: names that the model scores; its other sites may be left out.
        ids, draws, seed, unread, precision: see `keyed_draws`.
    """
    with keyed_draws(seed, ids, draws, unread=unread, precision=precision):
        batch = batch.seeing(given)
        guide = poutine.trace(program.query_guide).get_trace(batch)
        wanting = batch.wanting(sampled, scored)
        model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(wanting)
    return DrawTraces(guide, model)


def in_chunks(draws: int, step: int) -> list[range]:
    """The numbers of `draws` draws, `step` at a time."""
    return [range(first, min(first + step, draws)) for first in range(0, draws, step)]
