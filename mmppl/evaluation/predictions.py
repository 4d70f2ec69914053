"""Metrics of one predicted modality."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..data.dataset import Dataset
from ..modalities.modality import Modality, kind
from . import metrics as score


def scores(m: Modality, answer: Mapping[str, np.ndarray], test: Dataset) -> dict[str, float]:
    """Metrics of one modality over the rows whose truth is known; {} where there are none."""
    known = test.observed[m.name].numpy()
    if not known.any():
        return {}
    truth = test.values[m.name].numpy()[known]
    if kind(m) == "number":
        truth = m.value_in_input_units(truth)
        numbers = {"rmse": score.rmse(truth, answer["mean"][known])}
        if "q25" in answer:
            numbers["coverage50"] = score.coverage(truth, answer["q25"][known], answer["q75"][known])
            numbers["coverage90"] = score.coverage(truth, answer["q05"][known], answer["q95"][known])
        return numbers
    prob = answer["prob"][known]
    predicted = prob.argmax(-1)
    if kind(m) == "sequence":
        return {"error": score.error_rate(truth, predicted), "error_whole": score.whole_error_rate(truth, predicted)}
    return {
        "error": score.error_rate(truth, predicted),
        "balanced_accuracy": score.balanced_accuracy(truth, predicted),
        "log_loss": score.log_loss(truth, prob),
        "calibration_error": score.calibration_error(truth, prob),
    }
