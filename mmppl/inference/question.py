"""A checked question about a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from ..base.parsing import whole
from ..core.batch import Batch
from ..core.program import Program
from ..data.dataset import Dataset
from ..errors import UsageError, suggest
from ..objectives.traces import is_random
from .keyed_noise import KeyedNoise
from .predictive import PredictiveAccumulator, quantile_name, resample
from .psis import smooth
from .warnings import far_off, not_finite, nothing_given, nothing_scored

SMOOTHING = 64  # bytes per weight: itself, and the copies that smoothing takes


METHODS = ("guide", "importance")


PRECISIONS = ("fp32", "bf16")


def latents(program: Program, dataset: Dataset, given: Sequence[str]) -> dict[str, int]:
    """Latents by name, each with the size of its event."""
    batch = dataset.batch(torch.tensor([0]), program.encoded).seeing(given)
    with torch.random.fork_rng(devices=[]):  # the caller's generator is not ours to move
        nodes = poutine.trace(program.query_guide).get_trace(batch).nodes.items()
    found = [(name, site["fn"]) for name, site in nodes if is_random(site) and not site["is_observed"]]
    return {name: fn.event_shape.numel() for name, fn in found}


@dataclass
class Question:
    """A checked question about a data set."""

    program: Program
    dataset: Dataset
    given: list[str]  # every name that may be conditioned on
    want: list[str]
    draws: int
    method: str
    seed: int
    keep_draws: bool
    quantiles: Sequence[float]
    precision: str
    latents: dict[str, int]  # name → numbers per draw

    @classmethod
    def of(
        cls,
        program: Program,
        dataset: Dataset,
        given: Sequence[str] | None,
        want: Sequence[str],
        draws: int,
        method: str,
        seed: int,
        keep_draws: bool,
        quantiles: Sequence[float],
        precision: str,
    ) -> Question:
        names = [m.name for m in program.modalities]
        if method not in METHODS:
            raise UsageError(f"query: no method {method!r}; choose guide or importance.{suggest(method, METHODS)}")
        draws, seed = whole("draws", draws), whole("seed", seed)
        if draws < 1:
            raise UsageError(f"query: {draws} draws; at least one is needed.")
        if not len(dataset):
            raise UsageError(f"query: {dataset.name} has no rows in this split.")
        for p in quantiles:
            quantile_name(p)  # says what is wrong with it
        if not want:
            raise UsageError(f"query: nothing is wanted; name some of {', '.join(['z', *names])}.")
        for name in given or ():
            if name not in names:
                raise UsageError(
                    f"query: no modality {name!r} to give; this run has {', '.join(names)}.{suggest(name, names)}"
                )
        if given is None:
            roles = {m.name: m.role for m in program.modalities}
            seen = [n for n in program.encoded if roles[n] == "modality" and n not in want]
        else:
            seen = list(given)
        weighs = method == "importance" or set(want) == {"evidence"}  # then the model scores what the guide cannot see
        reason = program.can_answer([n for n in seen if n in program.encoded] if weighs else seen)
        if reason:
            raise UsageError(f"query: {reason}.")
        lacking = torch.zeros(len(dataset), dtype=torch.bool)
        for name in program.conditions:
            lacking |= ~dataset.observed[name]
        if lacking.any():
            first = dataset.ids[int(lacking.nonzero()[0])]
            raise UsageError(
                f"query: {int(lacking.sum())} rows (first id {first}) lack {', '.join(program.conditions)}, which "
                f"{type(program).__name__} conditions on. Leave them out, with --rows or in the file."
            )
        question = cls(program, dataset, seen, list(want), draws, method, seed, keep_draws, quantiles, precision, {})
        question.latents = latents(program, dataset, seen)
        for name in want:
            if name in names and name not in program.targets():
                raise UsageError(
                    f"query: {type(program).__name__} has no distribution for {name}; it answers about "
                    f"{', '.join([*question.latents, *program.targets()])}."
                )
        known = [*question.latents, *names, "evidence"]
        for name in want:
            if name not in known:
                raise UsageError(
                    f"query: {name!r} is not in this run; want some of {', '.join(known)}.{suggest(name, known)}"
                )
        return question

    def of_one_row(self, draws: int) -> None:
        """The question, asked of the first row with so many draws: how much memory it takes."""
        dataclasses.replace(self, draws=draws).ask(torch.tensor([0]), draws)

    def held(self) -> int:
        """Bytes per row and draw that stay until the last of the row's draws."""
        weighs = self.method == "importance" or "evidence" in self.want
        copies = 2 * self.keep_draws + (2 if self.method == "importance" else 1)
        number = torch.get_default_dtype().itemsize
        sizes = {
            m.name: m.size * (8 if m.family.values == "classes" else number)
            for m in self.program.modalities
            if self._holds(m.name)
        }
        sizes |= {name: size * number for name, size in self.latents.items() if self._holds(name)}
        return SMOOTHING * weighs + copies * sum(size for name, size in sizes.items() if name in self.want)

    def _holds(self, name: str) -> bool:
        """Are draws needed all at once?"""
        ordered = name in self.latents or self.program.modality(name).family.values != "classes"
        return self.keep_draws or (ordered and bool(self.quantiles))

    def ask(self, rows: Tensor, step: int) -> dict[str, dict[str, np.ndarray]]:
        """Everything wanted, for some rows, `step` draws at a time."""
        batch, ids = self.dataset.batch(rows, self.program.encoded), self.dataset.ids[rows.numpy()]
        names = [n for n in self.want if n != "evidence"]
        found = self._describe(names, batch, ids, step) if names else {}
        if "evidence" in self.want:
            found["evidence"] = self._evidence(batch, ids, step)
        return found

    def _draw(
        self,
        batch: Batch,
        ids: np.ndarray,
        draws: range,
        given: Sequence[str],
        want: Sequence[str],
        scored: Sequence[str] = (),
    ) -> tuple[Any, Any]:
        """Traces of the answer given `given` with (draws, B) latents, and of the model on them, sampling `want`; of its
        other sites only `scored` are sure to be there."""
        unread = [n for n in want if not self._holds(n)]
        with (
            KeyedNoise(self.seed, ids, len(draws), first=draws.start, unread=unread),
            pyro.plate("draws", len(draws), dim=-2),
            pyro.validation_enabled(False),
            torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            batch = batch.seeing(given)
            answer = poutine.trace(self.program.query_guide).get_trace(batch)
            free = [n for n in want if n not in self.latents and n not in self.program.conditions]
            batch = batch.wanting(free, scored)
            model = poutine.trace(poutine.replay(self.program.model, trace=answer)).get_trace(batch)
        return answer, model

    def _chunks(self, step: int) -> list[range]:
        """The draws, `step` at a time."""
        return [range(first, min(first + step, self.draws)) for first in range(0, self.draws, step)]

    def _log_weights(
        self, batch: Batch, ids: np.ndarray, given: Sequence[str], scored: Sequence[str], step: int
    ) -> Tensor:
        """(draws, B) ln p(z) + ln p(scored | z) − ln q(z | given), unscaled, each scored name where it is observed, and
        each latent where the model does not mask it."""
        total = torch.zeros(self.draws, len(batch), dtype=torch.float64)
        for draws in self._chunks(step):
            total[draws.start : draws.stop] = self._log_weights_of(batch, ids, draws, given, scored)
        return total

    def _log_weights_of(
        self, batch: Batch, ids: np.ndarray, draws: range, given: Sequence[str], scored: Sequence[str]
    ) -> Tensor:
        """Those of some draws; a function of its own, so that no chunk's traces outlive it."""
        total = torch.zeros(len(draws), len(batch), dtype=torch.float64)
        answer, model = self._draw(batch, ids, draws, given, (), scored)
        for name, site in answer.nodes.items():
            if is_random(site) and not site["is_observed"]:
                p = model.nodes[name]
                ratio = (p["fn"].log_prob(site["value"]) - site["fn"].log_prob(site["value"])).double()
                total += ratio if p["mask"] is None else torch.where(p["mask"], ratio, 0.0)  # as in the loss
        for name in scored:
            if name not in self.program.conditions:
                log_p = model.nodes[name]["fn"].log_prob(batch.value(name)).double()
                total += torch.where(batch.observed[name], log_p, 0.0)
        return total

    def _evidence(self, batch: Batch, ids: np.ndarray, step: int) -> dict[str, np.ndarray]:
        """ln p(targets | given) as a difference of two importance estimates, in the units of the input."""
        targets = self._targets()
        if not targets:
            raise UsageError("query: evidence of what? Name what is wanted beside it, or give something.")
        given = [n for n in self.given if n not in (*targets, *self.program.conditions)]
        nats, spread, ess, khat = self._log_mean(batch, ids, [*given, *targets], step)
        if given:
            below = self._log_mean(batch, ids, given, step)
            nats, spread = nats - below[0], spread - below[1]  # of the same noise: they vary together
            ess, khat = torch.minimum(ess, below[2]), torch.maximum(khat, below[3])
        alone = nats.new_full(nats.shape, torch.nan)  # one draw says nothing of the spread
        variance = spread.var(0) / self.draws if self.draws > 1 else alone
        for name in targets:
            jacobian = self.program.modality(name).log_jacobian(batch.value(name))
            nats = nats + torch.where(batch.observed[name], jacobian.double(), 0.0)
        asked = torch.stack([batch.observed[name] for name in targets]).any(0)  # ln p of nothing is 0, without error
        nats, variance, khat = (torch.where(asked, t, 0.0) for t in (nats, variance, khat))
        ess = torch.where(asked, ess, float(self.draws))
        return {"nats": nats.numpy(), "se": variance.sqrt().numpy(), "ess": ess.numpy(), "khat": khat.numpy()}

    def _targets(self) -> list[str]:
        """What the evidence is of: what is wanted beside it, or else what is given."""
        aside = ("evidence", *self.latents, *self.program.conditions)
        return [n for n in self.want if n not in aside] or [n for n in self.given if n not in aside]

    def _log_mean(
        self, batch: Batch, ids: np.ndarray, names: list[str], step: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ln p(names | conditions) in model units, (B,); the draws' weights over their mean, (draws, B), whose variance
        over the number of draws is the estimate's (delta method); ESS and k̂, (B,) each."""
        shown = [n for n in [*self.program.conditions, *names] if n in self.program.encoded]
        log_weights = self._log_weights(batch, ids, shown, names, step)
        shift = log_weights.max(0).values
        weights = (log_weights - shift).exp()
        mean = weights.mean(0)
        smoothed = smooth(log_weights)
        return mean.log() + shift, weights / mean, smoothed.ess, smoothed.khat

    def _describe(self, names: list[str], batch: Batch, ids: np.ndarray, step: int) -> dict[str, dict[str, np.ndarray]]:
        """Moments, quantiles and probabilities of sites over their draws. With importance the weights come first, from
        draws that the keyed noise makes again: no decoder output waits for them."""
        weighted = None
        if self.method == "importance":
            weighted = smooth(self._log_weights(batch, ids, self.given, self.given, step))
        weights = None if weighted is None else weighted.weights
        gathered = {
            name: PredictiveAccumulator(
                None if name in self.latents else self.program.modality(name), self.draws, weights, self._holds(name)
            )
            for name in names
        }
        for draws in self._chunks(step):
            answer, model = self._draw(batch, ids, draws, self.given, names)
            for name, into in gathered.items():
                into.add((answer if name in self.latents else model).nodes[name], draws.start)
            del answer, model  # before the next chunk takes its own
        found: dict[str, dict[str, np.ndarray]] = {}
        picked = None if weights is None else resample(weights, self.seed, ids)
        for name, of in gathered.items():
            if picked is not None:
                of.resample(picked)
            kept = {"draws": of.kept()} if self.keep_draws else {}
            found[name] = of.moments() | of.quantiles(self.quantiles) | kept
            if weighted is not None:
                found[name] |= {"ess": weighted.ess.numpy(), "khat": weighted.khat.numpy()}
        return found

    def warnings(self, found: dict[str, dict[str, Any]]) -> list[str]:
        """What the asker should know, a line each."""
        targets = self._targets() if "evidence" in self.want else []
        others = self.want != ["evidence"]
        return [
            *(nothing_given(self.dataset, self.given) if others else []),
            *(nothing_scored(self.dataset, targets) if targets else []),
            *not_finite(found, self.dataset, dict.fromkeys([*self.given, *targets])),
            *far_off(found, self.draws),
        ]
