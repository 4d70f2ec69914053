"""What a small network that learns from the latent can classify, over all rows and where a modality is noise."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from ...base.quiet import without_warnings
from ...core.program import Program
from ...errors import UsageError
from ...modalities.modality import Modality
from ..conditioning import set_name, with_all
from ..latent import class_labels, posterior_means
from ..registry import family
from ..scores import error_rate
from ..study import Study
from .importance import noise_of

UNITS = (50, 50)
MAX_ROWS = 50_000  # train rows, a seeded sample if there are more


@family("downstream")
class Downstream:
    """mlp.L of every class label L, the accuracy of a network of two layers of 50 ReLUs that learns from the means of z
    of the train rows, and mlp_noisy_X.L, the same on the rows that the annotation noise_X marks as noise.

    Source: "Importance-based Multimodal Autoencoder" (ICLR 2021 submission), Table 5.
    """

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List the accuracies of every class label."""
        ways = ("mlp", *(f"mlp_noisy_{name}" for name in program.encoded))
        return [f"{way}.{m.name}" for m in class_labels(program) for way in ways]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted from each conditioning set; nothing without train rows, or without a latent z."""
        found: dict[str, dict[str, float]] = {}
        for given in study.sets:
            for m in class_labels(study.program):
                if m.name in given or not any(name in wanted for name in self.names(study.program)):
                    continue
                try:
                    numbers = self._of_label(study, given, m)
                except UsageError as error:  # there is no latent of that name
                    study.log(f"no network on z: {error}")
                    return {}
                for name, number in numbers.items():
                    if name in wanted:
                        found.setdefault(name, {})[set_name(given)] = number
        return found

    @staticmethod
    def _of_label(study: Study, given: Any, m: Modality) -> dict[str, float]:
        if study.train is None:
            return {}
        train, test = (with_all(part, (*given, m.name)) for part in (study.train, study.test))
        if len(train) > MAX_ROWS:
            chosen = np.random.default_rng(study.seed).choice(len(train), MAX_ROWS, replace=False)
            train = train.take(torch.from_numpy(np.sort(chosen)))
        if not len(test) or len(train) < 2:
            return {}
        study.log(f"a network on z given {set_name(given)}: {len(train):,} train rows")
        z, asked = (posterior_means(study.model, part, given, study.seed) for part in (train, test))
        truth = test.values[m.name].numpy()
        guess = classified(z, train.values[m.name].numpy(), asked, seed=study.seed)
        found = {f"mlp.{m.name}": 1 - error_rate(truth, guess)}
        for name in study.program.encoded:
            noise = noise_of(test, name)
            if noise is not None and noise.any():
                found[f"mlp_noisy_{name}.{m.name}"] = 1 - error_rate(truth[noise], guess[noise])
        return found


def classified(z: np.ndarray, classes: np.ndarray, asked: np.ndarray, *, seed: int) -> np.ndarray:
    """Classify rows by a network of two layers of 50 ReLUs (Adam, at most 200 epochs) on standardised codes.

    Args:
        z: (n, D) codes of the rows to learn from.
        classes: (n,) their classes.
        asked: (m, D) codes of the rows to classify.
        seed: the seed of its weights and of the order of the rows.

    Returns:
        (m,) classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(classes)) == 1:
        return np.full(len(asked), classes[0])
    network = make_pipeline(StandardScaler(), MLPClassifier(UNITS, random_state=seed))
    with without_warnings(ConvergenceWarning):  # 200 epochs are the definition of this network
        return np.asarray(network.fit(z, classes).predict(asked))
