"""Where kernels run in the tests: the two paths of the CPU's, and Triton's on a GPU or in its interpreter."""

import pytest
import torch

from mmppl.kernels.codegen import triton_backend
from mmppl.kernels.codegen.c_backend import available, compiled_kernels


@pytest.fixture(params=["compiled", "pytorch"])
def path(request):
    """A module that says `usefixtures("path")` runs on both paths of the CPU."""
    if request.param == "compiled" and not available():
        pytest.skip("no C compiler")
    with compiled_kernels(request.param == "compiled"):
        yield request.param


@pytest.fixture
def triton_device():
    """Where Triton's kernels run: "cuda", or, where there is no GPU, "cpu" in the interpreter."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        yield "cuda"
    else:
        with triton_backend.interpreted():
            yield "cpu"


@pytest.fixture
def triton_float64():
    """For float64, which Triton's kernels take in the interpreter alone."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("float64 on a GPU takes PyTorch's operations")
    with triton_backend.interpreted():
        yield
