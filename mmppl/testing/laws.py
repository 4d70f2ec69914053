"""The laws themselves: each is a function of a program that raises `BrokenLaw` with one line about what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from ..core.batch import Batch
from ..core.program import Program
from ..core.terms import terms_of
from ..data.dataset import Dataset
from ..distributions.delta import is_deterministic
from ..errors import UsageError
from ..inference.query import ask
from ..inference.questions.question import latents_of
from ..objectives.traces import is_random
from .linear_gaussian import World, exact
from .samples import overwritten, turned

NAMES = ("classes", "predicted", "modalities", "most")  # parts of an answer that are no numbers
ROWS = 32  # that are looked at together
ROUNDING: dict[str, Any] = dict(rtol=2e-4, atol=2e-5)
Densities = dict[str, Tensor]


class BrokenLaw(AssertionError):
    """A program breaks one of the laws; the message says which, where, and what to do."""


def answerable(program: Program, data: Dataset, rows: int = ROWS) -> Dataset:
    """Return the first rows that have what the program conditions on.

    Args:
        program: the program.
        data: the rows.
        rows: how many rows are returned at most.

    Returns:
        The rows.
    """
    keep = torch.ones(len(data), dtype=torch.bool)
    for name in program.conditions:
        keep &= data.observed[name]
    return data.take(keep.nonzero().squeeze(-1)[:rows])


def batch_of(program: Program, data: Dataset) -> Batch:
    """Return all rows as one batch."""
    return data.batch(torch.arange(len(data)), program.encoded)


def densities(
    program: Program, guide: Callable[..., Any], batch: Batch, draws: Mapping[str, Tensor] | None = None
) -> tuple[Densities, Densities, Densities]:
    """The draws of a program's latents, and the log-densities of everything in guide and model.

    Args:
        guide: the program's, for training or for queries.
        draws: name → latents to be looked at; None: drawn from the guide.

    Returns:
        The draws, (B, D) each; ln q(z | seen) by name; ln p by name, of latents and modalities, 0 where the model masks
        a site. Log-densities are in nats.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        nodes = poutine.trace(guide).get_trace(batch).nodes
        latents = {n: site for n, site in nodes.items() if is_random(site) and not site["is_observed"]}
        z = {n: site["value"] if draws is None else draws[n] for n, site in latents.items()}
        of_guide = {n: _log_density(site["fn"], z[n]) for n, site in latents.items()}
        torch.manual_seed(1)
        model = poutine.trace(poutine.condition(program.model, data=z)).get_trace(batch)
        of_model = {}
        for n, site in model.nodes.items():
            if is_random(site) and (n in z or site["is_observed"]):
                log_p = site["fn"].log_prob(site["value"])
                of_model[n] = log_p if site["mask"] is None else torch.where(site["mask"], log_p, 0.0)
    return z, of_guide, of_model


def _log_density(fn: Any, z: Tensor) -> Tensor:
    """ln q(z); of a point 0 where z is the point up to rounding, else −∞."""
    if not is_deterministic(fn):
        return fn.log_prob(z)
    near = torch.where(torch.isclose(z, fn.mean, **ROUNDING).all(-1), 0.0, -torch.inf)
    return torch.where((fn.variance == 0).all(-1), near, fn.log_prob(z))


def fillers(program: Program, data: Dataset) -> None:
    """Check that the values under missing entries change no bit of loss and gradients in training, nor of answers."""
    for filler in (1000.0, float("nan")):
        changed = overwritten(data, filler)
        wanted, found = (_loss_and_gradients(program, batch_of(program, d)) for d in (data, changed))
        for name, value in wanted.items():
            if not _same(found[name], value):
                raise _broken(
                    program,
                    f"{name} changes with what lies where nothing was observed; read values by batch.value or "
                    "batch.input, and multiply nothing by a mask (0 · NaN is NaN)",
                )
        program.eval()
        clean, filled = (all_answers(program, answerable(program, d)) for d in (data, changed))
        for name, number in clean.items():
            if not np.array_equal(number, filled[name], equal_nan=True):
                raise _broken(program, f"the answer about {name} changes with what lies where nothing was observed")


def rows_alone(program: Program, data: Dataset) -> None:
    """Check that, in training, guide and model treat a row independently of the rows beside it."""
    some = answerable(program, data)
    half = len(some) // 2
    rows = torch.arange(len(some)).clamp_max(half)  # the same ones, and one of the rest again and again
    program.train()
    z, *wanted = densities(program, program.guide, batch_of(program, some))
    z = {name: value.index_select(-2, rows) for name, value in z.items()}
    _, *found = densities(program, program.guide, batch_of(program, some.take(rows)), z)
    program.eval()
    for side, ours, theirs in zip(("guide", "model"), wanted, found):
        for name, log_p in ours.items():
            if not torch.allclose(theirs[name][..., :half], log_p[..., :half], **ROUNDING):
                raise _broken(
                    program,
                    f"in training, the density of a row's {name} in the {side} depends on the rows beside it; "
                    "normalise per sample (LayerNorm), since BatchNorm lets fillers leak",
                )


def order_of_rows(program: Program, data: Dataset) -> None:
    """Check that rows in another order have the same answers in that order."""
    some = answerable(program, data)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(1))
    wanted, found = all_answers(program, some), all_answers(program, some.take(order))
    for name, number in wanted.items():
        if not np.allclose(found[name], number[order.numpy()], equal_nan=True, **ROUNDING):
            raise _broken(program, f"the answer about {name} depends on the order of the rows")


def order_of_modalities(program: Program, other: Program, data: Dataset, move: Callable[..., None] | None) -> None:
    """Check that a program with its modalities in another order gives the same densities to the same latents.

    Args:
        program: the program.
        other: a program of the same modalities in the opposite order, which gets the weights.
        data: the rows.
        move: puts the weights of the first into the other; None: `moved`.
    """
    try:
        (moved if move is None else move)(program, other)
    except RuntimeError:
        raise _broken(
            program,
            "its networks have other names or sizes when the modalities come in another order; fix by hyper-parameters "
            "what depends on it, or pass `move`",
        ) from None
    some = answerable(program, data)
    z, *wanted = densities(program, program.query_guide, batch_of(program, some))
    _, *found = densities(other, other.query_guide, batch_of(other, turned(some)), z)
    for side, ours, theirs in zip(("guide", "model"), wanted, found):
        for name, log_p in ours.items():
            if not torch.allclose(theirs[name], log_p, **ROUNDING):
                raise _broken(program, f"the density of {name} in the {side} depends on the order of the modalities")


def moved(program: Program, other: Program) -> None:
    """Put the weights of a program into another whose modalities are in another order.

    A layer with as many inputs as all encoded modalities (and conditions) together is taken for one that sees them side
    by side, and a parameter with one number for each encoded modality for one of each. Everything else goes by its
    name.

    Args:
        program: the program.
        other: the program that gets the weights.
    """
    sizes = {name: program.modality(name).alone.input_size for name in program.encoded}
    inputs, beside = sum(sizes.values()), sum(m.input_size for m in program.covariates)
    columns = dict(zip(sizes, torch.arange(inputs).split(list(sizes.values()))))
    weights = program.state_dict()
    for key, weight in weights.items():
        if weight.ndim == 2 and weight.shape[1] == inputs + beside:
            own = torch.cat([columns[n] for n in other.encoded])
            weights[key] = weight[:, torch.cat([own, torch.arange(inputs, inputs + beside)])]
        elif weight.shape == (len(sizes),) and key in dict(program.named_parameters(recurse=False)):
            weights[key] = weight[[program.encoded.index(n) for n in other.encoded]]
    other.load_state_dict(weights)


def nothing_is_the_prior(program: Program, data: Dataset) -> None:
    """Check that a row of which nothing (but its conditions) is seen gets the model's prior."""
    some = answerable(program, data)
    batch = batch_of(program, some).seeing(program.conditions)
    _, of_guide, of_model = densities(program, program.query_guide, batch)
    for name, log_q in of_guide.items():
        counts = of_model.get(name, torch.zeros(())) != 0  # masked: it does not count where its modality is not seen
        if not torch.allclose(log_q[counts], of_model[name][counts], **ROUNDING):
            raise _broken(program, f"{name} of a row of which nothing is seen is not the prior")


def extremes(program: Program, data: Dataset) -> Dataset:
    """Return the same data with numbers at the ends of their ranges: ±1000 standard deviations, or 0 and 1."""
    values = dict(data.values)
    for name, value in data.values.items():
        if value.is_floating_point():
            schema = next(m for m in data.modalities if m.name == name)
            refused, _ = schema.family.illegal(np.full(value[:1].shape, -1e3))
            unbounded = not np.any(refused)
            values[name] = torch.where(value > value.mean(), *((1e3, -1e3) if unbounded else (1.0, 0.0)))
    return dataclasses.replace(data, values=values)


def finite_gradients(program: Program, data: Dataset) -> None:
    """Check that loss and gradients are finite for one row, for rows with nothing observed, and for extreme values."""
    nothing = {n: torch.zeros_like(o) for n, o in data.observed.items()}
    edges = {
        "one row": answerable(program, data, 1),
        "rows with nothing observed": dataclasses.replace(data, observed=nothing),
        "extreme values": extremes(program, data),
    }
    for edge, rows in edges.items():
        try:
            numbers = _loss_and_gradients(program, batch_of(program, rows))
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise _broken(program, f"the objective fails for {edge} ({what})") from error
        for name, value in numbers.items():
            if value is not None and not value.isfinite().all():
                raise _broken(program, f"{name} is not finite for {edge}")


def exactness(cls: type[Program], hyper: Mapping[str, Any]) -> bool:
    """Check that, in a linear-Gaussian world, importance sampling finds the exact posterior mean and evidence, within 6
    of its standard errors.

    Args:
        cls: the program's class.
        hyper: hyper-parameters.

    Returns:
        False where the program's networks cannot be set to those of the world, or its prior is not N(0, I).
    """
    return all(_exact_in(cls, hyper, condition) for condition in ((0, 2) if cls.takes_covariates else (0,)))


def _exact_in(cls: type[Program], hyper: Mapping[str, Any], condition: int) -> bool:
    """The same, in a world with a condition of that size."""
    world = World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True, condition=condition)
    try:
        with _double():
            program = exact(cls, world, **hyper)
    except (UsageError, ValueError):
        return False
    data = world.sample(6)
    if not _has_standard_prior(program, batch_of(program, data)):
        return False
    for given in (["a"], ["b", "c"], ["a", "b", "c"]):
        with _double():
            answer = ask(program, data, given=given, want=["z", "evidence"], draws=2000, method="importance")
        mean, covariance = world.posterior(data.values, given)
        error = (torch.from_numpy(answer["z"]["mean"]) - mean).abs()
        bound = 6 * (covariance.diagonal() / torch.from_numpy(answer["z"]["ess"]).unsqueeze(-1)).sqrt() * 1.5
        if not (error < bound).all():
            raise _broken(program, f"in a linear-Gaussian world z given {'+'.join(given)} is off by {error.max():.2g}")
        gap = (torch.from_numpy(answer["evidence"]["nats"]) - world.log_evidence(data.values, given)).abs()
        if not (gap < 6 * torch.from_numpy(answer["evidence"]["se"]) + 1e-6).all():
            raise _broken(
                program, f"in a linear-Gaussian world the evidence of {'+'.join(given)} is off by {gap.max():.2g} nats"
            )
    return True


def _has_standard_prior(program: Program, batch: Batch) -> bool:
    """Whether the model's only latent is z ~ N(0, I)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        nodes = poutine.trace(program.model).get_trace(batch).nodes
    latents = [site for site in nodes.values() if is_random(site) and not site["is_observed"]]
    if [site["name"] for site in latents] != ["z"]:
        return False
    z = latents[0]["value"]
    normal = torch.distributions.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1)
    return torch.allclose(latents[0]["fn"].log_prob(z), normal)


@contextmanager
def _double() -> Iterator[None]:
    """Double precision is the default inside a `with` block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _loss_and_gradients(program: Program, batch: Batch) -> dict[str, Tensor | None]:
    """Loss and gradients in training mode. The state of the buffers is restored."""
    before = [b.clone() for b in program.buffers()]
    torch.manual_seed(2)
    loss = terms_of(program.train(), batch).loss
    names, parameters = zip(*program.named_parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    with torch.no_grad():
        for buffer, value in zip(program.buffers(), before):
            buffer.copy_(value)
    program.eval()
    found: dict[str, Tensor | None] = {"the loss": loss.detach()}
    return found | {f"the gradient of {n}": g for n, g in zip(names, gradients)}


def all_answers(program: Program, data: Dataset) -> dict[str, np.ndarray]:
    """Return all numbers of the answers about everything, by both methods, given what each row has; without evidence
    and importance sampling where the guide is deterministic.
    """
    given = [n for n in program.encoded if program.modality(n).role == "modality"]
    found: dict[str, np.ndarray] = {}
    weighs = not any(map(is_deterministic, latents_of(program, data, given).values()))
    for method in ("guide", "importance") if weighs else ("guide",):
        want = ["z", *program.quantities, *["evidence"] * weighs, *program.targets()]
        answer = ask(program.eval(), data, given=given, want=want, draws=30, method=method, keep_draws=True)
        for name, parts in answer.want.items():
            numbers = {key: np.asarray(x) for key, x in parts.items() if key not in NAMES}
            if name in program.quantities:
                numbers = dict(zip(program.encoded, numbers["value"].T))
            found |= {f"{name} ({key}, method {method})": value for key, value in numbers.items()}
    return found


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _broken(program: Program, what: str) -> BrokenLaw:
    return BrokenLaw(f"{type(program).__name__}: {what}.")
