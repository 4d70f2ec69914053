"""A fit reads its data once, and one pass over the values gives all its fingerprints."""

import dataclasses
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mmppl
from mmppl.data import dataset as module
from mmppl.data import fingerprint
from mmppl.data.fingerprint import row_digests
from mmppl.data.read import read
from mmppl.data.readers import npz

N = 60


def arrays():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (N, 3, 3)).astype(np.uint8),
        "gene": rng.normal(3, 2, (N, 4)),
        "count": rng.poisson(4, (N, 2)),
        "mask_gene": np.arange(N) % 7 > 0,
        "label": np.arange(N) % 3,
    }


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    return tmp_path / "mine.npz"


def counted(monkeypatch, place, name, counts):
    original = getattr(place, name)

    def call(*args, **kwargs):
        counts[name] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(place, name, call)


@pytest.mark.parametrize("hide", [0.0, 0.4])
def test_a_fit_reads_once_and_looks_at_the_values_once(file, tmp_path, monkeypatch, hide):
    counts = Counter()
    counted(monkeypatch, npz, "read_npz", counts)
    counted(monkeypatch, module, "row_digests", counts)
    run = mmppl.fit("mvae", file, hide=hide, hyper={"hidden": 4, "latent_dim": 2}, epochs=1, out=tmp_path / "run")
    assert counts == {"read_npz": 1, "row_digests": 4}  # of four arrays
    stored = run.record.data
    for hidden, name in ((True, "fingerprint"), (False, "unhidden")):
        assert mmppl.Run.load(run.folder).data(hidden=hidden).fingerprint() == getattr(stored, name)


def test_every_stage_runs_once(file):
    counts = Counter()

    def profile(frame, event, argument):
        if event == "call":
            counts[frame.f_code.co_name] += 1

    read(file)
    sys.setprofile(profile)
    try:
        read(file)
    finally:
        sys.setprofile(None)
    for stage in ("read_npz", "parse_overrides", "parse_arrays", "infer_schema", "from_arrays"):
        assert counts[stage] == 1, stage


def test_reading_with_hide_masks_and_keeps_the_whole(file):
    plain, masked = read(file), read(file, hide=0.4, hide_seed=3)
    assert plain.whole is None and masked.whole is not None and masked.whole.whole is None
    again = masked.whole.mask_at_random(rate=0.4, seed=3)
    for name in ("image", "gene", "count", "label"):
        assert torch.equal(masked.values[name], again.values[name])
        assert torch.equal(masked.observed[name], again.observed[name])
        assert torch.equal(masked.whole.observed[name], plain.observed[name])
    assert torch.equal(masked.whole.values["image"], plain.values["image"])
    train = masked.observed["gene"] & torch.from_numpy(masked.split == 0)
    raw = arrays()["gene"][train.numpy()]
    np.testing.assert_allclose(masked.modalities[1].shift, raw.mean(0), rtol=1e-12)  # of what is left, not of all
    assert masked.modalities == masked.whole.modalities != plain.modalities
    assert masked.take(torch.arange(3)).whole is None


def test_one_pass_gives_the_fingerprints_of_each(file):
    plain, masked = read(file), read(file, hide=0.4, hide_seed=3)
    prints = masked.fingerprints()
    assert prints["fingerprint"] == dataclasses.replace(masked, whole=None).fingerprint()  # from its own values
    assert prints["unhidden"] == masked.whole.fingerprint() != prints["fingerprint"]
    assert prints["as_read"] == plain.fingerprints()["as_read"] == read(file, hide=0.1).fingerprints()["as_read"]
    assert plain.fingerprints()["fingerprint"] == plain.fingerprints()["unhidden"] == plain.fingerprint()


@pytest.mark.parametrize("name", ["image", "gene", "count", "label"])
def test_another_value_is_other_data_whatever_is_masked(name):
    first, changed = read(arrays()), arrays()
    row = next(int(row) for row in first.rows("train") if first.observed[name][row])
    changed[name][row] = changed[name][row] + 1 if name != "label" else (changed[name][row] + 1) % 3
    for hide in (0.0, 0.4):
        assert read(changed, hide=hide).fingerprints()["as_read"] != first.fingerprints()["as_read"]


def test_as_read_depends_on_values_in_given_units():
    """Where the units are those of another fit, no scaling learnt from the rows stands for the values."""
    schema, other = read(arrays()).modalities, arrays()
    other["gene"][20] += 1
    prints = [read(a, schema=schema).fingerprints()["as_read"] for a in (arrays(), other)]
    assert prints[0] != prints[1] and prints[0] == read(arrays(), schema=schema, hide=0.3).fingerprints()["as_read"]


def slowly(words, weights):
    """The number of a row by Python's integers."""
    return sum(int(w) * int(x) for w, x in zip(weights, words)) % 2**64


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(), (1,), (3, 5)]), st.booleans())
def test_numbers_of_rows_are_what_they_are_said_to_be(seed, shape, whole):
    draw = torch.Generator().manual_seed(seed)
    value = torch.randn(7, *shape, generator=draw)
    value = (1000 * value).long() if whole else value
    value[2] = 0
    words = value.numpy().reshape(7, -1).view(np.uint32)
    weights = fingerprint._weights(words.shape[1])
    assert (weights % 2 == 1).all() and len(set(weights.tolist())) == len(weights)
    assert row_digests(value).tolist() == [slowly(row, weights) for row in words]
    assert row_digests(value)[2] == 0


def test_numbers_of_rows_do_not_depend_on_the_chunk(monkeypatch):
    value = torch.rand(33, 5, generator=torch.Generator().manual_seed(0))
    whole = row_digests(value)
    monkeypatch.setattr(fingerprint, "CHUNK", 13)
    assert np.array_equal(row_digests(value), whole) and len(row_digests(value[:0])) == 0


def test_rows_that_differ_have_different_numbers():
    """In one bit each, in two signs (which 64-bit words would not reveal), and in the order of their features."""
    value = torch.rand(1, 40, generator=torch.Generator().manual_seed(0)) + 0.5
    bits = value.expand(40 * 32, 40).contiguous().numpy().view(np.uint32)
    for i in range(len(bits)):
        bits[i, i // 32] ^= np.uint32(1 << (i % 32))
    signs = value.repeat(39, 1)
    for i in range(39):
        signs[i, i : i + 2] *= -1
    turned = torch.stack([value[0].roll(i) for i in range(40)])
    rows = torch.cat([torch.from_numpy(bits.view(np.float32)), signs, turned])
    digests = row_digests(rows)
    assert len(set(digests.tolist())) == len(rows)
