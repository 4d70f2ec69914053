"""What a program keeps for one likelihood: the parameters that it learns, and the calibration after training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn


class LikelihoodState(nn.Module):
    """The learned parameters of one modality's likelihood by name, and its calibration.

    Args:
        parameters: name → first value of what is learned.
        calibration: the identity of what calibration sets: the log of a factor of the scale of each feature, or the log
            of a temperature; None: nothing of the likelihood can be calibrated.

    Attributes:
        calibrated: whether answers use the calibration. A fit turns it off while it trains: the parameters that it
            learns would undo it.
    """

    calibration: Tensor | None

    def __init__(self, parameters: Mapping[str, Tensor], calibration: Tensor | None) -> None:
        super().__init__()
        self.names = tuple(parameters)
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))
        self.register_buffer("calibration", calibration)
        self.calibrated = True

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        found: Tensor = getattr(self, name)  # in `torch.func.functional_call` a tensor that is no parameter
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def calibration_of(learned: object) -> Tensor | None:
    """Return the calibration that a bound modality's likelihood applies now.

    Args:
        learned: `Modality.learned`.

    Returns:
        The tensor; None where there is none, or a fit has turned it off.
    """
    if isinstance(learned, LikelihoodState) and learned.calibrated:
        return learned.calibration
    return None
