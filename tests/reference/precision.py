"""How much rounding a kernel may show: measured by that of PyTorch's own operations in the same precision."""

from collections.abc import Sequence

from torch import Tensor, finfo


def assert_rounds_like(got: Sequence[Tensor], plain: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
    """Each of `got` is within twice the error of `plain`, PyTorch's in the same precision, of `exact`, in float64.

    PyTorch's error may happen to be nil: 8 units in the last place of the largest number are allowed besides, for what
    is added up in another order.
    """
    for ours, theirs, want in zip(got, plain, exact, strict=True):
        ours, theirs, unit = ours.double().cpu(), theirs.double().cpu(), finfo(theirs.dtype).eps
        assert ours.shape == want.shape and ours.isfinite().all()
        error, allowed = (ours - want).abs(), 2 * (theirs - want).abs()
        if want.numel():
            assert error.max() <= allowed.max() + 8 * unit * (1 + want.abs().max()), (error.max(), allowed.max())
