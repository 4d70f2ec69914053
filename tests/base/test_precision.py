"""The path of float32 matrix products is chosen by its error and, where the CPU has AMX, by its time."""

import pytest
import torch

from mmppl.base import precision


@pytest.fixture
def probe(monkeypatch):
    """The choice on a machine with stand-ins for oneDNN's error, AMX and the times of both paths."""

    def choose(error=0.0, amx=False, default=1.0, onednn=1.0):
        timed = []

        def seconds(path, a, b):
            timed.append(path)
            return {"default": default, "onednn": onednn}[path]

        monkeypatch.setattr(precision, "ERROR_LIMIT", torch.inf if error < 2e-6 else 0.0)
        monkeypatch.setattr(precision, "_has_amx", lambda: amx)
        monkeypatch.setattr(precision, "_seconds", seconds)
        return precision.probe_matmul.__wrapped__(), timed

    return choose


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="this PyTorch has one path only")
@pytest.mark.parametrize(
    ("machine", "path", "timed"),
    [
        (dict(), "onednn", []),
        (dict(error=1e-3), "default", []),
        (dict(error=1e-3, amx=True, onednn=0.1), "default", []),  # fast and wrong
        (dict(amx=True, default=1.0, onednn=0.5), "onednn", ["default", "onednn"]),
        (dict(amx=True, default=0.5, onednn=1.0), "default", ["default", "onednn"]),
        (dict(amx=True, default=0.95, onednn=1.0), "onednn", ["default", "onednn"]),  # a tie, always decided alike
    ],
    ids=str,
)
def test_the_choice(probe, machine, path, timed):
    assert probe(**machine) == (path, timed)


def test_a_path_is_timed_and_the_setting_restored():
    a, b = torch.randn(2, 64, 64)
    before = precision.current_matmul()
    assert all(precision._seconds(path, a, b) > 0 for path in ("default", "onednn"))
    assert precision.current_matmul() == before
