"""Queries: a program with fitted weights + what is given + what is wanted → the predictive distribution, per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from .answer import Answer
from .batch import Batch
from .data import Dataset
from .errors import UsageError, suggest
from .modality import Modality
from .noise import KeyedNoise
from .objective import is_random
from .predictive import average, constant, in_units, moments, pick, quantile, resample
from .program import Program
from .psis import Smoothed, smooth

MEMORY = 64_000_000  # numbers that one chunk's largest intermediate may have

METHODS = ("guide", "importance")


@torch.no_grad()
def ask(
    program: Program,
    dataset: Dataset,
    *,
    given: Sequence[str] | None = None,
    want: Sequence[str],
    draws: int = 64,
    method: Literal["guide", "importance"] | str = "guide",
    seed: int = 0,
    keep_draws: bool = False,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    run: str = "",
) -> Answer:
    """Ask a program about every row of a data set.

    Args:
        given: names to condition on, each in the rows that have it; [] is the prior; None: all that a row has, less
            what is wanted and labels.
        want: latents ("z"), modalities, labels, or "evidence": ln p(the other wanted names | given), each where
            observed; with no other name wanted, ln p(given).
        draws: of the latent per row.
        method: "guide": the program's answer as it is; "importance": the answer corrected by the model, with
            Pareto-smoothed weights (adds "ess" and "khat" to everything wanted).
        seed: with the row's id the key of its noise; slicing or reordering rows changes answers by rounding only.
        keep_draws: add "draws", (n, draws, *shape), to every wanted thing but the evidence.
        quantiles: which to report, as q05 for 0.05 (not for classes).
    Raises: UsageError for unknown names, or a question that the program cannot answer (with the reason).
    """
    question = _Question.of(program, dataset, given, want, draws, method, seed, keep_draws, quantiles)
    widest = max(question.width, *(m.output_size for m in program.modalities))
    chunk = max(1, MEMORY // (draws * widest))
    parts = [question.ask(rows) for rows in torch.arange(len(dataset)).split(chunk)]
    found = {
        name: {key: np.concatenate([p[name][key] for p in parts]) for key in parts[0][name]} for name in question.want
    }
    for name in question.want:
        if "prob" in found[name]:
            classes = list(program.modality(name).classes or ())
            found[name]["predicted"] = np.asarray(classes)[found[name]["prob"].argmax(-1)]
            found[name]["classes"] = classes  # type: ignore[assignment]
    return Answer(run, None if given is None else list(given), dataset.ids, found, question.notes(found))


@dataclass
class _Question:
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
    latents: list[str]
    width: int = 1  # numbers per draw and row that the widest latent's density takes

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
    ) -> _Question:
        names = [m.name for m in program.modalities]
        want = list(dict.fromkeys(want))
        given = None if given is None else list(dict.fromkeys(given))
        if method not in METHODS:
            raise UsageError(f"query: no method {method!r}; choose guide or importance.{suggest(method, METHODS)}")
        if draws < 1:
            raise UsageError(f"query: {draws} draws; at least one is needed.")
        if not len(dataset):
            raise UsageError(f"query: {dataset.name} has no rows in this split.")
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
        question = cls(program, dataset, seen, list(want), draws, method, seed, keep_draws, quantiles, [])
        sites = question._latents()
        question.latents, question.width = list(sites), max([1, *sites.values()])
        for name in want:
            if name in names and name not in program.answers():
                raise UsageError(
                    f"query: {type(program).__name__} has no distribution for {name}; it answers about "
                    f"{', '.join([*question.latents, *program.answers()])}."
                )
        known = [*question.latents, *names, "evidence"]
        for name in want:
            if name not in known:
                raise UsageError(
                    f"query: {name!r} is not in this run; want some of {', '.join(known)}.{suggest(name, known)}"
                )
        return question

    def _latents(self) -> dict[str, int]:
        """Latents by name, each with its distribution's width."""
        batch = self.dataset.batch(torch.tensor([0]), self.program.encoded).seeing(self.given)
        with torch.random.fork_rng(devices=[]):  # the caller's generator is not ours to move
            nodes = poutine.trace(self.program.answer).get_trace(batch).nodes.items()
        latents = [(name, site["fn"]) for name, site in nodes if is_random(site) and not site["is_observed"]]
        return {name: getattr(fn, "width", 1) for name, fn in latents}

    def ask(self, rows: Tensor) -> dict[str, dict[str, np.ndarray]]:
        """Everything wanted, for some rows."""
        batch, ids = self.dataset.batch(rows, self.program.encoded), self.dataset.ids[rows.numpy()]
        names = [n for n in self.want if n != "evidence"]
        found: dict[str, dict[str, np.ndarray]] = {}
        if names:
            answer, model = self._draw(batch, ids, self.given, names, self.given if self.method == "importance" else ())
            weighted = (
                smooth(self._log_weights(answer, model, batch, self.given)) if self.method == "importance" else None
            )
            picked = resample(weighted.weights, self.seed, ids) if weighted else None
            for name in names:
                found[name] = self._describe(name, answer if name in self.latents else model, weighted, picked)
        if "evidence" in self.want:
            found["evidence"] = self._evidence(batch, ids)
        return found

    def _draw(
        self, batch: Batch, ids: np.ndarray, given: Sequence[str], want: Sequence[str], scored: Sequence[str] = ()
    ) -> tuple[Any, Any]:
        """Traces of the answer given `given` with (draws, B) latents, and of the model on them, sampling `want`; of its
        other sites only `scored` are sure to be there."""
        with (
            KeyedNoise(self.seed, ids, self.draws),
            pyro.plate("draws", self.draws, dim=-2),
            pyro.validation_enabled(False),
        ):
            answer = poutine.trace(self.program.answer).get_trace(batch.seeing(given))
            free = [n for n in want if n not in self.latents and n not in self.program.conditions]
            batch = batch.wanting(free, scored)
            model = poutine.trace(poutine.replay(self.program.model, trace=answer)).get_trace(batch)
        return answer, model

    def _log_weights(self, answer: Any, model: Any, batch: Batch, given: Sequence[str]) -> Tensor:
        """(draws, B) ln p(z) + ln p(given | z) − ln q(z), unscaled, each given name where it is observed."""
        total = torch.zeros(self.draws, len(batch), dtype=torch.float64)
        for name, site in answer.nodes.items():
            if is_random(site) and not site["is_observed"]:
                p = model.nodes[name]["fn"]
                total += (p.log_prob(site["value"]) - site["fn"].log_prob(site["value"])).double()
        for name in given:
            if name not in self.program.conditions:
                scored = model.nodes[name]["fn"].log_prob(batch.value(name)).double()
                total += torch.where(batch.observed[name], scored, 0.0)
        return total

    def _evidence(self, batch: Batch, ids: np.ndarray) -> dict[str, np.ndarray]:
        """ln p(targets | given) as a difference of two importance estimates, in the units of the input."""
        conditions = list(self.program.conditions)
        targets = [n for n in self.want if n not in ("evidence", *self.latents, *conditions)]
        given = [n for n in self.given if n not in conditions]
        if not targets:
            targets, given = given, []
        if not targets:
            raise UsageError("query: evidence of what? Name what is wanted beside it, or give something.")
        given = [n for n in given if n not in targets]
        nats, variance, ess, khat = self._log_mean(batch, ids, conditions, [*given, *targets])
        if given:
            below = self._log_mean(batch, ids, conditions, given)
            nats, variance = nats - below[0], variance + below[1]
            ess, khat = torch.minimum(ess, below[2]), torch.maximum(khat, below[3])
        for name in targets:
            jacobian = self.program.modality(name).log_jacobian(batch.value(name))
            nats = nats + torch.where(batch.observed[name], jacobian.double(), 0.0)
        return {"nats": nats.numpy(), "se": variance.sqrt().numpy(), "ess": ess.numpy(), "khat": khat.numpy()}

    def _log_mean(
        self, batch: Batch, ids: np.ndarray, conditions: list[str], names: list[str]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ln p(names | conditions) in model units, its estimate's variance (delta method), ESS and k̂; (B,) each."""
        shown = [n for n in [*conditions, *names] if n in self.program.encoded]
        answer, model = self._draw(batch, ids, shown, [], names)
        log_weights = self._log_weights(answer, model, batch, names)
        shift = log_weights.max(0).values
        weights = (log_weights - shift).exp()
        mean = weights.mean(0)
        variance = weights.var(0, unbiased=self.draws > 1) / self.draws / mean.square()
        smoothed = smooth(log_weights)
        return mean.log() + shift, variance, smoothed.ess, smoothed.khat

    def _describe(
        self, name: str, trace: Any, weighted: Smoothed | None, picked: Tensor | None
    ) -> dict[str, np.ndarray]:
        """Moments, quantiles and probabilities of one site over its draws."""
        modality = None if name in self.latents else self.program.modality(name)
        site = trace.nodes[name]
        fn, value = site["fn"], site["value"]
        weights = None if weighted is None else weighted.weights
        parts: dict[str, Tensor | np.ndarray] = {}
        if modality is not None and modality.classes is not None:
            parts["prob"] = average(fn.probs, weights)
        else:
            weighed = weights is not None and modality is None  # weights correct the draws of a latent, not its guide
            mean, variance = (value, torch.zeros_like(value)) if weighed else (fn.mean, fn.variance)
            parts |= moments(modality, mean, variance, weights)
            parts |= self._quantiles(modality, fn, value, weights, picked)
        if self.keep_draws:
            kept = value if picked is None else pick(value, picked)
            parts["draws"] = (
                in_units(modality, kept.movedim(0, 1).numpy())
                if modality is None or modality.classes is None
                else kept.movedim(0, 1)
            )
        if weighted is not None:
            parts |= {"ess": weighted.ess, "khat": weighted.khat}
        return {k: v.numpy() if isinstance(v, Tensor) else v for k, v in parts.items()}

    def _quantiles(
        self, modality: Modality | None, fn: Any, value: Tensor, weights: Tensor | None, picked: Tensor | None
    ) -> dict[str, np.ndarray]:
        """q05 etc. in input units: exact where the site's distribution is the same for every draw, else those of the
        draws at plotting positions k/(draws + 1), whose intervals cover what they say on average."""
        names = {f"q{round(100 * p):02d}": p for p in self.quantiles}
        if not names:
            return {}
        if (
            weights is None
            and self.draws > 1
            and hasattr(fn, "from_uniform")
            and not hasattr(fn, "uniforms")  # an inverse distribution function per number of the event
            and constant(fn.mean)
            and constant(fn.variance)
        ):
            flat = fn.mean[:1].flatten(2) if fn.event_shape else fn.mean[:1].unsqueeze(-1)
            exact = {q: fn.from_uniform(torch.full_like(flat, p))[0].numpy() for q, p in names.items()}
            return {q: in_units(modality, x) for q, x in exact.items()}
        drawn = value if picked is None else pick(value, picked)
        ordered = drawn.movedim(0, -1).contiguous().sort(-1).values.movedim(-1, 0)  # along memory: several times faster
        return {q: in_units(modality, quantile(ordered, p).numpy()) for q, p in names.items()}

    def notes(self, found: dict[str, dict[str, Any]]) -> list[str]:
        notes = []
        seen = [self.dataset.observed[n] for n in self.given]
        empty = int((~torch.stack(seen).any(0)).sum()) if seen else 0
        if empty:
            notes.append(
                f"{empty} of {len(self.dataset)} rows have nothing of what is given: their answer is the prior's."
            )
        khat = next((parts["khat"] for parts in found.values() if "khat" in parts), None)
        if khat is not None and (khat > 0.7).any():
            notes.append(
                f"{int((khat > 0.7).sum())} of {len(khat)} rows have k̂ above 0.7: the guide is too far off there; "
                "take more draws or do not trust them."
            )
        return notes
