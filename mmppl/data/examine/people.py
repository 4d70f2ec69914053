"""Groups of rows, such as the visits of a person: whether they lie in several parts, and columns that look so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..splits import GROUP
from .finding import Finding
from .registry import Examined, examination

NAMES = (
    "person", "subject", "patient", "participant", "donor", "individual", "animal", "mouse", "speaker", "person_id",
    "subject_id", "patient_id", "participant_id", "donor_id", "family",
)  # fmt: skip


@examination("people")
def people(data: Examined) -> Iterator[Finding]:
    """Find groups that are both in the training and in the test rows, and names of people that are taken for data."""
    if GROUP in data.annotations:
        group = data.annotations[GROUP]
        train, test = np.unique(group[data.split < 2]), np.unique(group[data.split == 2])
        both = np.intersect1d(train, test)
        if len(both):
            yield Finding(
                "people", GROUP,
                f"group: {len(both):,} of {len(np.unique(group)):,} are in the training and the test rows of the given "
                "split, so that errors on test rows are too small for new ones; split by group, or leave `split` out",
                True,
            )  # fmt: skip
        return
    for m in data.modalities:
        if m.size == 1 and m.name.lower() in NAMES:
            rows = data.rows(m.name)
            if len(np.unique(rows)) < len(rows):
                yield Finding(
                    "people", m.name,
                    f"{m.name}: has several rows of each, and is taken for an observation; --as {m.name}=group keeps "
                    "the rows of each together in train, valid and test", True,
                )  # fmt: skip
