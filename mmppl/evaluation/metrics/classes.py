"""Metrics of predicted classes, and a baseline without a latent model."""

from ..baselines import baseline_error
from ..registry import metric
from ..scores import balanced_accuracy, calibration_error, error_rate, log_loss, whole_error_rate
from ..study import Target


@metric("error", of=("class", "sequence"))
def error(target: Target) -> float:
    """Share of wrong classes; for a sequence, over all positions."""
    return error_rate(target.truth, target.answer["prob"].argmax(-1))


@metric("baseline_error", of="class", asks=False)
def error_of_baseline(target: Target) -> float:
    """Error rate of a logistic regression on the mean-imputed given modalities."""
    study = target.study
    if study.train is None:
        return float("nan")
    inputs = [study.program.modality(name) for name in target.given]
    return baseline_error(study.train, study.test, inputs, target.modality, seed=study.seed)


@metric("balanced_accuracy", of="class")
def mean_recall(target: Target) -> float:
    """Mean recall over the classes that occur."""
    return balanced_accuracy(target.truth, target.answer["prob"].argmax(-1))


@metric("log_loss", of="class")
def mean_log_loss(target: Target) -> float:
    """−ln p(true class), in nats."""
    return log_loss(target.truth, target.answer["prob"])


@metric("calibration_error", of="class")
def expected_calibration_error(target: Target) -> float:
    """Expected calibration error over 15 bins of confidence."""
    return calibration_error(target.truth, target.answer["prob"])


@metric("error_whole", of="sequence")
def error_of_whole(target: Target) -> float:
    """Share of rows in which any position is wrong."""
    return whole_error_rate(target.truth, target.answer["prob"].argmax(-1))
