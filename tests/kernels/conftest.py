"""The two paths of the CPU kernels: a module that says `usefixtures("path")` runs on both."""

import pytest

from mmppl.kernels.compiled import available, compiled_kernels


@pytest.fixture(params=["compiled", "pytorch"])
def path(request):
    if request.param == "compiled" and not available():
        pytest.skip("no C compiler")
    with compiled_kernels(request.param == "compiled"):
        yield request.param
