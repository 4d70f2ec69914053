"""The total correlation of arrays, estimated by a critic that is trained on some rows and read on others."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from ...base.precision import matmul_precision, probe_matmul
from ...base.random import generator
from ...errors import DataError, FitError, UsageError, suggest
from .bounds import BOUNDS, Bound, donsker_varadhan_averaged, moved_average
from .critic import Critic
from .total_correlation import RATE

READ_BY: dict[str, str] = {"dv": "dv", "nwj": "nwj", "js": "dv", "smile": "smile", "infonce": "infonce"}
FEWEST = 200  # rows
FRESH, VALID = 0.3, 0.1  # of the rows, those that the value is read on, and those that say when to stop
MOST_VALID = 2_000  # rows
CHECKS = 20  # looks at the validation rows
RISE, ROOM = 0.05, 0.02  # of the value, and nats: by how much the last fifth of them may be above the middle one
LARGE = 3.0  # nats; beyond, several smaller dependences are added up
FAR = 10.0  # standard deviations; values beyond are drawn in
HEAVY = 100.0  # effective rows of the product; with fewer, a handful of rows decides


@dataclass(frozen=True)
class Dependency:
    """An estimate of a total correlation.

    Args:
        tc: the value on fresh rows, in nats. What it estimates lies below the total correlation (SMILE apart), by as
            much as the critic is not the best one.
        se: its standard error over fresh rows.
        low: lower end of the interval, at least 0: the total correlation is hardly smaller.
        high: upper end. It speaks of this critic's bound: the total correlation itself may be larger.
        converged: whether the critic had stopped to improve, and the value rests on enough rows.
        reason: why not; "" where it has converged.
        method: by which the critic was trained.
        rows: that were used.
        fresh: those of them that the value was read on.
        left_out: rows that lacked a value.
        chain: whether it is the sum I(1; 2) + I(12; 3) + …, of a critic each.

    Example:
        >>> x, noise = torch.randn(2, 600, 1, generator=torch.Generator().manual_seed(0))
        >>> found = dependency(x, x + noise, steps=2)
        >>> found.converged, found.reason
        (False, 'the critic was still improving on held-out rows: take more steps')
    """

    tc: float
    se: float
    low: float
    high: float
    converged: bool
    reason: str
    method: str
    rows: int
    fresh: int
    left_out: int
    chain: bool


def dependency(
    *arrays: Any,
    method: str = "nwj",
    seed: int = 0,
    steps: int = 2_000,
    batch_size: int = 256,
    width: int = 128,
    lr: float = 2e-3,
    shufflings: int = 10,
    level: float = 0.95,
    chain: bool | None = None,
    fresh: Any = None,
) -> Dependency:
    """Estimate the total correlation KL(p(x₁, …, x_M) ‖ Π p(x_m)) of arrays; of two, their mutual information.

    A critic is trained on 60 % of the rows, validated on 10 %, and read on the others, with independent permutations of
    each array's rows. Arrays are standardised column by column, and values beyond 10 standard deviations drawn in.

    Args:
        *arrays: (N, ...) each, aligned by row. Rows with a NaN anywhere are left out.
        method: "nwj" or "dv" (moving average), lower bounds; "js": a logistic critic, read by Donsker and Varadhan's
            bound; "infonce"; "smile", which is no bound.
        seed: of weights, batches, split and permutations.
        steps: of the critic.
        batch_size: joint rows per step, and as many of the product.
        width: of the critic's three layers.
        lr: learning rate at the beginning; it falls to 0 by a cosine.
        shufflings: permutations of the fresh rows.
        level: of the interval.
        chain: whether I(1; 2) + I(12; 3) + … is estimated, which is the same number and less of it for each critic;
            None: where the total correlation is found to be above 3 nats.
        fresh: (N,) bool, rows to read the value on, such as those of a test set; None: drawn.

    Returns:
        The estimate.

    Raises:
        UsageError: fewer than two arrays, an unknown method, or a number out of range.
        DataError: the rows disagree, are fewer than 200, or hold infinite numbers.
        FitError: the critic diverges.

    Source: bounds as in `mmppl.objectives.dependence.bounds`; the chain rule as in arXiv:1905.06922, sec. 2.

    Example:
        >>> x, noise = torch.randn(2, 600, 1, generator=torch.Generator().manual_seed(0))
        >>> found = dependency(x, x + noise, steps=100, batch_size=64)
        >>> found.fresh, 0.1 < found.tc < 0.5  # ½ ln 2 = .35
        (180, True)
    """
    if method not in READ_BY:
        known = list(READ_BY)
        why = "bounds no total correlation" if method in BOUNDS else "is unknown"
        raise UsageError(f"dependency: method {method!r} {why}; choose {', '.join(known)}.{suggest(method, known)}")
    for name, value in dict(steps=steps, batch_size=batch_size, width=width, shufflings=shufflings).items():
        if value < 1:
            raise UsageError(f"dependency: {name} {value} is not at least 1.")
    if not (0 < level < 1 and 0 < lr < math.inf):
        raise UsageError(f"dependency: level {level:g}, lr {lr:g}: a level lies in (0, 1), and lr above 0.")
    vectors, whole, left_out = _vectors(arrays)
    with torch.random.fork_rng(devices=[]), matmul_precision(probe_matmul()):
        torch.manual_seed(generator(seed, "dependency").initial_seed())
        parts = _split(len(vectors[0]), None if fresh is None else torch.as_tensor(fresh, dtype=torch.bool)[whole])
        vectors = _standardised(vectors, parts[0])
        own = dict(steps=steps, batch_size=batch_size, width=width, lr=lr, shufflings=shufflings)
        one_by_one = bool(chain) and len(vectors) > 2
        found = _links(vectors, parts, method, one_by_one, own)
        if chain is None and len(vectors) > 2 and sum(value for value, _, _ in found) > LARGE:
            one_by_one, found = True, _links(vectors, parts, method, True, own)
    influence = torch.stack([one for _, one, _ in found]).sum(0)
    tc, se = sum(value for value, _, _ in found), float(influence.std()) / math.sqrt(len(influence))
    reach = NormalDist().inv_cdf((1 + level) / 2) * se
    reason = "; ".join(dict.fromkeys(why for _, _, why in found if why))
    return Dependency(
        tc, se, max(tc - reach, 0.0), max(tc + reach, 0.0), not reason, reason, method, len(vectors[0]),
        len(influence), left_out, one_by_one,
    )  # fmt: skip


Link = tuple[float, Tensor, str]
"""A value, what each fresh row contributes to its error, and what is wrong with it."""


def _links(
    vectors: Sequence[Tensor], parts: Sequence[Tensor], method: str, chain: bool, own: dict[str, Any]
) -> list[Link]:
    """One estimate of all, or of each array with those before it."""
    if not chain:
        return [_link(vectors, parts, method, **own)]
    pairs = [[torch.cat(list(vectors[:m]), -1), vectors[m]] for m in range(1, len(vectors))]
    return [_link(pair, parts, method, **own) for pair in pairs]


def _link(
    vectors: Sequence[Tensor], parts: Sequence[Tensor], method: str, *, shufflings: int, **own: Any
) -> Link:  # fmt: skip
    train, valid, fresh = ([vector[part] for vector in vectors] for part in parts)
    critic, why = _trained(train, valid, method, **own)
    value, influence, rows = _read(critic, fresh, method, shufflings)
    if value < -ROOM:
        why = why or "the value is below 0, that of a constant critic: take more steps, or more rows"
    if rows < HEAVY:
        heavy = f"e^T is heavy-tailed: the value rests on about {rows:.0f} rows of the product"
        why = "; ".join(filter(None, [why, heavy]))
    return value, influence, why


def _trained(
    train: Sequence[Tensor], valid: Sequence[Tensor], method: str, *, steps: int, batch_size: int, width: int, lr: float
) -> tuple[Critic, str]:
    """The critic of the step that serves the validation rows best, and whether it was still improving."""
    critic = Critic([v.shape[-1] for v in train], width=width, flags=0)
    optimiser = torch.optim.Adam(critic.parameters(), lr=lr, fused=True)
    mixed = [torch.cat([v[torch.randperm(len(v))] for _ in range(2)]) for v in valid]
    every, count = max(1, steps // CHECKS), len(train[0])
    average = torch.tensor(-math.inf)
    best, kept, seen = -math.inf, copy.deepcopy(critic.state_dict()), []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(count, (len(train) + 1, batch_size))
        joint, product = [v[rows[0]] for v in train], [v[row] for v, row in zip(train, rows[1:])]
        aligned, apart = critic([torch.cat(pair) for pair in zip(joint, product)]).chunk(2)
        if method == "dv":
            average = moved_average(average, apart, RATE)
            bound = donsker_varadhan_averaged(aligned, apart, average)
        else:
            bound = BOUNDS[method](aligned, apart, None)
        if not bound.isfinite():
            raise FitError(f"dependency: the critic of {method} diverged at step {step + 1}; try a smaller lr.")
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
        if (step + 1) % every == 0:
            with torch.no_grad():
                held = float(_judge(method)(critic(valid), critic(mixed), None))
            seen.append(held)
            if held > best:
                best, kept = held, copy.deepcopy(critic.state_dict())
    critic.load_state_dict(kept)
    fifth = max(1, len(seen) // 5)
    before, last = seen[-3 * fifth : -2 * fifth], seen[-fifth:]
    rise = sum(last) / len(last) - sum(before) / len(before) if before else math.inf
    rising = rise > RISE * abs(best) + ROOM
    return critic, "the critic was still improving on held-out rows: take more steps" if rising else ""


def _judge(method: str) -> Bound:
    """What says on validation rows which critic is best: what it is trained by, as that does not depend on luck with a
    few large e^T where its own value does."""
    return BOUNDS["js" if method in ("js", "smile") else method]


def _read(critic: Critic, vectors: Sequence[Tensor], method: str, shufflings: int) -> tuple[float, Tensor, float]:
    """The value, each row's part in its error, and the effective number of rows of the product.

    By the delta method, with the projections of a U-statistic: a row stands once among the joint rows, and for each
    array once per permutation in a row of the product.
    """
    with torch.no_grad():
        joint, count = critic(vectors).double(), len(vectors[0])
        limit = 5.0 if method == "smile" else math.inf
        outputs, orders = [], []
        for _ in range(shufflings):
            order = [torch.arange(count), *(torch.randperm(count) for _ in vectors[1:])]
            outputs.append(critic([v[o] for v, o in zip(vectors, order)]).double())
            orders.append(order)
        product = torch.stack(outputs).clamp(-limit, limit)
        value = float(BOUNDS[READ_BY[method]](joint, product.flatten(), None))
        top = product.max()
        weight = torch.exp(product - top)
        scale = torch.exp(top - 1) if method == "nwj" else 1 / weight.mean()
        part = joint - joint.mean()
        for m in range(len(vectors)):
            own = torch.zeros(count, dtype=torch.float64)
            for order, one in zip(orders, weight):
                own.index_add_(0, order[m], one)
            own = own / shufflings
            part = part - scale * (own - own.mean())
        return value, part, float(weight.sum().square() / weight.square().sum())


def _vectors(arrays: Sequence[Any]) -> tuple[list[Tensor], Tensor, int]:
    """(rows, columns) of each array, the rows that are whole, and how many are not."""
    if len(arrays) < 2:
        raise UsageError(f"dependency: {len(arrays)} array; dependence needs two.")
    found = [torch.as_tensor(array).detach().cpu().to(torch.float64) for array in arrays]
    counts = [v.shape[0] if v.ndim else 0 for v in found]
    if len(set(counts)) > 1 or not counts[0]:
        raise DataError(f"dependency: arrays of {', '.join(f'{n:,}' for n in counts)} rows; expected as many in each.")
    found = [v.reshape(len(v), -1) for v in found]
    if any(not v.shape[1] for v in found) or any(v.isinf().any() for v in found):
        raise DataError("dependency: an array has no column, or infinite numbers; leave them out, or write NaN.")
    whole = ~torch.stack([v.isnan().any(-1) for v in found]).any(0)
    if int(whole.sum()) < FEWEST:
        raise DataError(f"dependency: {int(whole.sum()):,} whole rows; a critic needs at least {FEWEST}.")
    return [v[whole] for v in found], whole, int((~whole).sum())


def _split(rows: int, fresh: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of the rows that are trained on, validated on, and read."""
    order = torch.randperm(rows)
    if fresh is None:
        held = order[: round(FRESH * rows)]
        order = order[len(held) :]
    else:
        held, order = order[fresh[order]], order[~fresh[order]]
        if min(len(held), len(order)) < FEWEST // 4:
            raise DataError(
                f"dependency: {len(held):,} fresh rows of {rows:,}; these (the test rows) and the others have to be "
                f"{FEWEST // 4} each. Give more, or leave the split out, and it is drawn."
            )
    valid = min(MOST_VALID, round(VALID * rows))
    return order[valid:], order[:valid], held


def _standardised(vectors: Sequence[Tensor], train: Tensor) -> list[Tensor]:
    """Float32, of mean 0 and standard deviation 1 on the training rows; a column that is constant there is 0."""
    found = []
    for v in vectors:
        mean, scale = v[train].mean(0), v[train].std(0)
        moves = scale > 1e-12 * (1 + mean.abs())
        found.append(torch.where(moves, (v - mean) / torch.where(moves, scale, 1.0), 0.0).clamp(-FAR, FAR).float())
    return found
