"""Shared by all tests: the reference models' place, one thread, one seed, how Triton runs, and where data are."""

import os
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start beside each other
_state = None if "MMPPL_STATE" in os.environ else tempfile.TemporaryDirectory(prefix="mmppl-state-")
if _state is not None:  # the list of fitted runs; the processes that pytest-xdist and tests start have it, too
    os.environ["MMPPL_STATE"] = _state.name
sys.path.insert(0, str(Path(__file__).parent))  # `from reference.linear_gaussian import ...`
torch.set_num_threads(1)
torch.manual_seed(0)  # for what a module draws when it is imported
hypothesis.settings.register_profile("seeded", derandomize=True)
hypothesis.settings.load_profile("seeded")
if not torch.cuda.is_available():  # read when Triton is imported, which torch by itself does not do
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def seeded():
    """PyTorch begins every process with a seed of its own: a test must not pass on some and fail on others."""
    torch.manual_seed(0)


@pytest.fixture
def float64():
    """Double precision by default, for comparisons with closed forms."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets ($MMPPL_DATA, or shared/data beside the checkout); skips where there is none."""
    here = Path(__file__).resolve().parents[1]
    for root in (os.environ.get("MMPPL_DATA"), here.parent / "shared" / "data", here / "shared" / "data"):
        if root and (Path(root) / "mnist").is_dir():
            return Path(root)
    pytest.skip("no data: set MMPPL_DATA to a folder with mnist/ in it")
