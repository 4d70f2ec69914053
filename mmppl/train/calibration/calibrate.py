"""Calibration after training: noise, temperatures and exponents of experts, fitted to held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...core.program import Program
from ...data.dataset import Dataset
from ...evaluation.conditioning import set_name
from ...modalities.likelihoods.noise import LOWEST, SPEED
from ...runs.calibration import Calibration
from .exponents import best_log_exponents
from .noise import Residuals, noise_factors
from .questions import Asked, cells, counted, log_predictive, predictions, questions, values_of
from .temperature import Guesses, best_log_temperature, held_out_loss

ROWS, DRAWS = 500, 16  # at most: of the held-out rows, evenly spaced; latents of each
FEWEST = 8  # draws, where there are many features
NUMBERS = 20_000_000  # means of features, over rows and draws, that are held at once
LEAST = 5  # rows that a question needs


@torch.no_grad()
def calibrate(program: Program, rows: Dataset, *, seed: int = 0, most: int = ROWS) -> Calibration:
    """Fit what an answer's honesty hangs on to rows that the program was not trained on.

    It maximises the held-out log-likelihood of the predictive distribution, the mixture over K draws z_k ~ q(z | given)
    of p(x | z_k), of each feature of each name given each set of the others, with three kinds of numbers:

    - a factor of the learned or predicted noise, per feature (`noise`);
    - a temperature of each label (and text), by which its logits are divided (`temperature`);
    - an exponent of each Gaussian expert of `Program.experts` (`exponents`), where the guide has such: an
      expert that is overconfident, or wrong, is tempered away.

    Each is kept only where it gains held-out nats, and shrunk towards 1 where rows are few. Networks and learned
    parameters stay as they are; the numbers are buffers of the program, which every answer uses, the evidence too.

    Args:
        program: the program with its weights; its buffers are changed, and it is left in evaluation mode.
        rows: held-out rows, in its schema.
        seed: of the draws.
        most: rows that are looked at, at most `ROWS`, evenly spaced.

    Returns:
        What was changed, and the held-out nats before and after.

    Example:
        >>> import mmppl
        >>> from mmppl.train.calibration.calibrate import calibrate
        >>> data = mmppl.read("digits-three")
        >>> program = mmppl.load_program("mvae")(data.modalities, hidden=8, layers=1)
        >>> report = calibrate(program, data.take(data.rows("valid")))
        >>> sum(report.after.values()) >= sum(report.before.values())
        True
    """
    program.eval()
    program.expert_calibration.zero_()
    rows = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), most, ROWS)).long()) if len(rows) else rows
    asked = questions(program, rows, LEAST) if len(rows) else []
    if not asked:
        return Calibration(rows=len(rows))
    held = _Held(program, rows, asked, seed)
    before, after = held.fit()
    first = held.current()
    log_exponents = best_log_exponents(program, rows, asked, seed)
    if log_exponents is not None:
        program.expert_calibration.copy_(log_exponents)
        _, again = held.fit()
        gain = sum(again[s] - after[s] for s in after) / len(after) * len(rows)
        if gain > float((log_exponents != 0).sum()):  # one nat for each exponent, as Akaike's criterion asks
            after = again
        else:
            program.expert_calibration.zero_()
            held.put(first)
    return replace(changed(program, len(rows)), before=before, after=after)


class _Held:
    """The held-out rows, and the factors that are fitted to them with the exponents as they stand."""

    def __init__(self, program: Program, rows: Dataset, asked: list[Asked], seed: int) -> None:
        self.program, self.rows, self.asked, self.seed = program, rows, asked, seed
        widths = {m.name: m.size * max(1, m.n_classes) for m in program.modalities}
        numbers = max(sum(len(found) * widths[name] for name, found in of.names.items()) for of in asked)
        self.draws = max(FEWEST, min(DRAWS, NUMBERS // numbers))

    def current(self) -> dict[str, Tensor]:
        """Name → a copy of its calibration."""
        states = self.program.likelihood_parameters.items()
        return {name: s.calibration.clone() for name, s in states if s.calibration is not None}  # type: ignore[operator]

    def put(self, found: Mapping[str, Tensor]) -> None:
        """Set calibrations."""
        for name, factor in found.items():
            self.program.likelihood_parameters[name].calibration.copy_(factor)  # type: ignore[operator]

    def fit(self) -> tuple[dict[str, float], dict[str, float]]:
        """Set noise and temperatures.

        Returns:
            Given set → held-out nats per row, on average over the names, without and with them.
        """
        names = self.current()
        self.put({name: torch.zeros_like(factor) for name, factor in names.items()})
        known: dict[str, dict[str, float]] = {}  # given set → name → nats
        residuals: dict[str, dict[str, Residuals]] = {}  # name → given set → its residuals
        guesses: dict[str, dict[str, Guesses]] = {}
        rows_of: dict[tuple[str, str], int] = {}
        for of in self.asked:
            given = set_name(of.given)
            known[given] = {}
            for name, fn, truth, counts in predictions(self.program, self.rows, of, self.draws, self.seed):
                known[given][name] = float(log_predictive(fn, truth)[counts].double().mean())
                values = values_of(fn)
                if name not in names or values is None:  # another distribution has its own noise
                    continue
                some = counted(fn, counts)
                flat = truth[some].reshape(int(some.sum()), -1)
                if values == "classes":
                    logits = fn.logits.unflatten(-2, fn.modality.shape) if fn.modality.sequence else fn.logits
                    log_p = torch.log_softmax(logits[:, some], -1)
                    if (there := cells(fn, some)) is not None:  # each cell is a row of one position
                        log_p, flat = log_p[:, there].unsqueeze(2), flat[there].unsqueeze(1)
                    guesses.setdefault(name, {})[given] = Guesses(log_p, flat)
                    rows_of[given, name] = int(counts.sum())
                else:
                    mean, variance = (t[:, some].reshape(len(t), *flat.shape) for t in (fn.mean, fn.variance))
                    residuals.setdefault(name, {})[given] = Residuals.of(mean, variance, flat, cells(fn, some))
        before = {given: _mean(values.values()) for given, values in known.items()}
        found: dict[str, Tensor] = {}
        for name, sets in residuals.items():
            factor = noise_factors([*sets.values()], shared=not names[name].ndim)
            found[name] = factor
            for given, of_set in sets.items():
                known[given][name] = of_set.mean_log_density(factor)
        for name, guessed in guesses.items():
            log_temperature = best_log_temperature([*guessed.values()])
            found[name] = torch.tensor(log_temperature)
            for given, guess in guessed.items():
                known[given][name] = -held_out_loss([guess], log_temperature) / rows_of[given, name]
        self.put(found)
        return before, {given: _mean(values.values()) for given, values in known.items()}


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)


def changed(program: Program, rows: int) -> Calibration:
    """List what of a program's calibration is not the identity.

    Args:
        program: the program.
        rows: how many held-out rows it was calibrated on.

    Returns:
        The report, without nats.
    """
    noise: dict[str, float] = {}
    temperature: dict[str, float] = {}
    for name, state in program.likelihood_parameters.items():
        factor: Tensor | None = state.calibration  # type: ignore[assignment]
        if factor is None or not factor.any():
            continue
        into = temperature if program.modality(name).family.values == "classes" else noise
        into[name] = float(factor.double().mean().exp())
    names = [m.name for m in program.modalities]
    exponents = {n: float(t) for n, t in zip(names, program.expert_calibration.exp()) if t != 1}
    return Calibration(rows=rows, noise=noise, temperature=temperature, exponents=exponents)


def tell_noise_at_bound(program: Program, log: Callable[[str], None]) -> None:
    """Tell of features whose learned noise has fallen to its lower bound.

    Args:
        program: the program with its weights.
        log: receives a line for each modality that has such features.
    """
    for name, state in program.likelihood_parameters.items():
        if not program.modality(name).family.calibrates_noise or "log_scale" not in state:  # type: ignore[operator]
            continue
        raw: Tensor = state["log_scale"].detach()  # type: ignore[index]
        number = int((SPEED * raw <= LOWEST).sum())
        if number:
            log(
                f"{name}: the noise of {number} of {raw.numel()} features is at its lower bound, 0.001: they are "
                "constant, or copies of others; leave them out."
            )
