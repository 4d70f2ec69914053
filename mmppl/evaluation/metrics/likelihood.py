"""How probable the data are, in nats: each modality under its decoder, beside baselines without a latent model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...core.program import Program
from ...core.roles import class_label, generates
from ...errors import UsageError
from ...modalities.modality import Modality
from ..baselines import nll_of_means
from ..conditioning import set_name, with_all
from ..likelihood import EVIDENCE, evidence, predictive_nats, reconstruction
from ..registry import family
from ..study import Study


@family("nll")
class ReconstructionNLL:
    """nll.X from every conditioning set, and beside it nll_global.X, nll_class.X and nll_floor.X."""

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List nll.X and its anchors of all generated modalities."""
        made = map(program.modality, generates(program))
        return [f"{name}.{m.name}" for m in made for name in ("nll", *_anchors(program, m))]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted, on the rows that have the conditioning set; the anchors need train rows."""
        program = study.program
        found: dict[str, Any] = {}
        names = [name for name in generates(program) if f"nll.{name}" in wanted]
        for given in study.sets if names else ():
            rows = with_all(study.test, given)
            study.log(f"nats of {', '.join(names)} given {set_name(given)}: {len(rows):,} rows")
            for name, number in reconstruction(study.model, rows, given, names, study.seed).items():
                found.setdefault(f"nll.{name}", {})[set_name(given)] = number
        for m in map(program.modality, generates(program)):
            if any(f"{anchor}.{m.name}" in wanted for anchor in _anchors(program, m)) and study.train is not None:
                for given in study.sets:
                    anchors = nll_of_means(study.train, with_all(study.test, given), m, class_label(program))
                    for anchor, number in anchors.items():
                        found.setdefault(f"{anchor}.{m.name}", {})[set_name(given)] = number
        return found


@family("predictive")
class PredictiveNats:
    """predictive_nats.X from every conditioning set without X."""

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List predictive_nats.X of everything that the program has a distribution for."""
        return [f"predictive_nats.{name}" for name in program.targets()]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted, on the rows that have the conditioning set."""
        found: dict[str, dict[str, float]] = {}
        for given in study.sets:
            names = [n for n in study.program.targets() if f"predictive_nats.{n}" in wanted and n not in given]
            rows = with_all(study.test, given)
            numbers = predictive_nats(study.model, rows, given, names, draws=study.draws, seed=study.seed)
            for name, number in numbers.items():
                found.setdefault(f"predictive_nats.{name}", {})[set_name(given)] = number
        return found


@family("evidence")
class Evidence:
    """ln p(the other modalities | each conditioning set), with its standard error over rows where it means something,
    and the share of rows whose k̂ says that the estimate cannot be trusted."""

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List the three metrics, if the program generates a modality."""
        return list(EVIDENCE) if generates(program) else []

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute all three; nothing if the program cannot answer."""
        try:
            found = evidence(study.model, study.test, study.sets, study.evidence_draws, study.seed, study.log)
            return {name: numbers for name, numbers in found.items() if numbers}
        except UsageError as error:
            study.log(f"no evidence: {error}")
            return {}


def _anchors(program: Program, m: Modality) -> list[str]:
    """List what `nll_of_means` has for a modality."""
    return [name for name in m.family.anchors if name != "nll_class" or class_label(program)]
