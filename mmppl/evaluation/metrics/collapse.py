"""How many dimensions of the latent have collapsed onto the prior."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ...core.program import Program
from ...core.roles import generates
from ...data.dataset import Dataset
from ...errors import UsageError
from ..conditioning import has_any, with_all
from ..registry import family
from ..scores import THRESHOLDS, collapse_curve, gaussian_kl
from ..study import Study


@family("collapse")
class Collapse:
    """Collapse curves given everything, over the rows that have a modality besides the conditions, and given each
    modality alone."""

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List "collapse", if the program generates a modality."""
        return ["collapse"] if generates(program) else []

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute the curves; nothing if the program has no latent z, or cannot answer given everything."""
        program = study.program
        beyond = [n for n in program.encoded if program.modality(n).role == "modality" and n not in program.conditions]
        rows = study.test.take(has_any(study.test, beyond).nonzero().squeeze(-1))

        def latent(given: Sequence[str], rows: Dataset = rows) -> tuple[np.ndarray, np.ndarray]:
            ask: dict[str, Any] = dict(draws=study.draws, seed=study.seed, split="all")
            z = study.model.query(rows, given=given, want=["z"], **ask).want["z"]
            return z["mean"], z["std"]

        def curve(*gaussians: np.ndarray) -> list[float]:
            return collapse_curve(gaussian_kl(*gaussians)).tolist()

        try:
            q = latent(program.encoded)
            if not q[1].any():  # exactly 0: points
                study.log("no collapse curve: the guide is deterministic, and codes without a density do not collapse")
                return {}
            prior = latent(program.conditions)
        except UsageError as error:  # there is no such latent, or it cannot be inferred given everything
            study.log(f"no collapse curve: {error}")
            return {}
        curves: dict[str, Any] = {"fraction": curve(*q, *prior)}
        if program.conditions:
            curves |= {"prior_q": curve(*prior, *q), "prior_standard": curve(*prior), "q_standard": curve(*q)}
        alone = {}
        for name in program.encoded:
            if name in beyond and program.can_answer([name]) is None and rows.observed[name].any():
                z = latent([name], with_all(rows, [name]))
                alone[name] = curve(*z, *(part[rows.observed[name].numpy()] for part in prior))
        curves |= {"alone": alone} if alone else {}
        return {"collapse": {"eps": THRESHOLDS.tolist(), **curves}}
