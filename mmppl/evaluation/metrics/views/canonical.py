"""The correlation of the codes of different views of the same rows."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Any

import numpy as np

from ....core.program import Program
from ...conditioning import with_all
from ...latent import posterior_means
from ...registry import family
from ...study import Study

TOTAL, EACH = "correlation_total", "correlation_each"


@family("canonical")
class CanonicalCorrelation:
    """correlation_total, the correlation of z given one view with z given another, summed over the components; and
    correlation_each, that of each component. Of more than two views they are means over pairs.

    They are those of rows that have both views, and say what projections that were fitted on other rows are worth.
    """

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List both, if the program aligns views component by component."""
        return [TOTAL, EACH] if getattr(program, "canonical", False) else []

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute both; nothing if there are fewer than three rows with two views."""
        found = []
        for pair in combinations(study.program.encoded, 2):
            rows = with_all(study.test, pair)
            if len(rows) >= 3:
                found.append(correlations(*(posterior_means(study.model, rows, [name], study.seed) for name in pair)))
        if not found:
            return {}
        each = np.mean(found, 0)
        study.log(f"correlation of z given single views: {each.sum():.4g} of {len(each)}")
        numbers = {"component": list(range(1, len(each) + 1)), "correlation": each.tolist()}
        return {name: value for name, value in ((TOTAL, float(each.sum())), (EACH, numbers)) if name in wanted}


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of each column with the same column of other codes.

    Args:
        a: (n, D).
        b: (n, D).

    Returns:
        (D,); 0 where a column does not vary.

    Example:
        >>> correlations(np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]), np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 0.0]]))
        array([-1.,  0.])
    """
    a, b = (x.astype(np.float64) - x.astype(np.float64).mean(0) for x in (a, b))
    spread = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.divide((a * b).sum(0), spread, out=np.zeros(a.shape[1]), where=spread > 0)
