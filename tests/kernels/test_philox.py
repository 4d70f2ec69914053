"""Philox against its known answers, and the compiled path bit for bit against plain PyTorch."""

import pytest
import torch

from mmppl.kernels import philox as module
from mmppl.kernels.codegen.c_backend import available, compiled_kernels
from mmppl.kernels.philox import keyed_uniforms, philox


@pytest.mark.parametrize(
    ("counter", "key", "words"),  # known answers of Random123 (philox4x32, 10 rounds)
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    got = philox(tuple(torch.tensor([c]) for c in counter), key)
    assert " ".join(f"{w.item():08x}" for w in got) == words


@pytest.mark.skipif(not available(), reason="no C compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("rows", "first", "draws", "size"), [(1, 0, 1, 1), (3, 5, 2, 4), (2, 0, 3, 67), (5, 2**31, 1, 0)]
)
def test_compiled_bits_are_the_plain_ones(dtype, rows, first, draws, size):
    key, words = (0x9E3779B9, 2**32 - 1), torch.randint(0, 2**32, (2, rows)).T  # not contiguous
    with compiled_kernels(False):
        expected = keyed_uniforms(key, words, first, draws, size, dtype)
    got = keyed_uniforms(key, words, first, draws, size, dtype)
    assert got.shape == (draws, rows, size) and torch.equal(got, expected)


@pytest.mark.skipif(not available(), reason="no C compiler")
def test_threads_change_nothing(monkeypatch):
    """One call per row of the output, whichever code makes it."""
    words = torch.arange(8).reshape(4, 2)
    expected = keyed_uniforms((1, 2), words, 0, 3, 9)
    monkeypatch.setattr(
        module.philox_c, "over_rows", lambda call, rows, work: [call(r, r + 1) for r in reversed(range(rows))]
    )
    assert torch.equal(keyed_uniforms((1, 2), words, 0, 3, 9), expected)


def test_other_rows_are_refused():
    with pytest.raises(ValueError, match=r"expected rows \(B, 2\) int64; got \(3,\)"):
        keyed_uniforms((0, 0), torch.zeros(3, dtype=torch.int64), 0, 1, 1)
