"""Which tensors Triton serves, and the message about a GPU that it does not."""

import logging
from contextlib import nullcontext

import pytest
import torch

from mmppl.kernels.codegen import primitives_triton, triton_backend


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of a given compute capability, as far as `supported` looks at it."""

    def make(capability, trial=lambda device: None):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Made-Up 1")
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(primitives_triton, "trial", trial)
        triton_backend.supported.cache_clear()

    yield make
    triton_backend.supported.cache_clear()


def test_a_gpu_that_compiles_is_used(gpu, caplog):
    gpu((9, 0))
    assert triton_backend.supported(0) and not caplog.records


def test_an_old_gpu_is_refused_once(gpu, caplog):
    gpu((7, 5))
    with caplog.at_level(logging.WARNING, "mmppl"):
        assert not triton_backend.supported(0) and not triton_backend.supported(0)
    (line,) = caplog.messages
    assert "Made-Up 1 (compute capability 7.5; the kernels need 8.0)" in line and "PyTorch, more slowly" in line


def test_a_gpu_without_a_working_compiler_is_refused_with_the_reason(gpu, caplog):
    def fails(device):
        raise RuntimeError("Failed to find C compiler\nand more")

    gpu((9, 0), fails)
    with caplog.at_level(logging.WARNING, "mmppl"):
        assert not triton_backend.supported(0)
    (line,) = caplog.messages
    assert "RuntimeError: Failed to find C compiler" in line and "and more" not in line


def test_the_interpreter_serves_the_cpu_only_inside_its_scope(triton_device):
    t = torch.zeros(3, device=triton_device)
    assert triton_backend.runs(t)


def test_without_the_scope_the_cpu_is_not_served():
    assert not triton_backend.runs(torch.zeros(3))
