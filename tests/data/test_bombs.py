"""Files whose sizes lie, and paths that are no files: one line, before any memory is taken."""

import gzip
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from small_files import idx, mnist
from small_wavs import patched, wav

from mmppl.base import memory
from mmppl.data.read import read
from mmppl.data.readers.papers.idx import read_idx
from mmppl.data.readers.parts import archive, tree
from mmppl.data.readers.speech.wav import read_wav
from mmppl.data.recipes.parts.mnist import FILES
from mmppl.data.recipes.parts.photographs import photographs
from mmppl.errors import DataError, UsageError, escaped

ROWS = np.arange(24.0).reshape(12, 2) / 7


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=ROWS, y=ROWS[:, :1])
    return path


def refused(call, *arguments):
    with pytest.raises(DataError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def with_npy(path, shape, kind="<f8", data=ROWS.tobytes()):
    """The file, with an array whose header says that shape and type."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data)
    return path


@pytest.mark.parametrize(
    "shape, says",
    [
        ("(True, 3)", "where sizes are whole numbers"),
        ("(12, -2)", "where sizes are whole numbers"),
        ("(2, 18446744073709551616)", "where sizes are whole numbers"),
        ("(99999999999, 2)", "bytes, and there are 192"),
        ("(11, 2)", "176 bytes, and there are 192"),
        ("(" + "1, " * 40 + "24)", "41 dimensions"),
        ("(12, 2", "its header"),
    ],
)
def test_headers_of_arrays(file, shape, says):
    assert says in refused(read, with_npy(file, shape))


@pytest.mark.parametrize(
    "kind, data, says",
    [
        ("<U0", b"", "without any room"),
        ("<M8[ns]", ROWS.tobytes(), "store numbers"),
        ("<c8", ROWS.tobytes(), "store numbers"),
        ("|b1", b"\7" * 24, "neither 0 nor 1"),
        ("<U1", struct.pack("<24I", *[0x110000] * 24), "signs that Unicode lacks"),
        ("<U1", struct.pack("<24I", *[0xD800] * 24), "signs that Unicode lacks"),
    ],
)
def test_types_of_arrays(file, kind, data, says):
    assert says in refused(read, with_npy(file, "(12, 2)", kind, data))


def test_arrays_in_every_order_and_type_come_back(file):
    for array in (np.asfortranarray(ROWS), ROWS.astype(">f4"), ROWS > 1, np.asfortranarray(ROWS.T)[::-1].T):
        np.savez(file, x=array, y=ROWS)
        assert read(file).fingerprint() == read({"x": array, "y": ROWS}).fingerprint()


def spoilt(path, change):
    """The file, with its directory rewritten: change(name, entry) of 46 bytes."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\1\2")
    while at >= 0:
        change(data, at)
        at = data.find(b"PK\1\2", at + 46)
    path.write_bytes(data)
    return path


def set_size(size):
    return lambda data, at: data.__setitem__(slice(at + 24, at + 28), struct.pack("<I", size))


def test_a_member_that_declares_what_it_cannot_be(file):
    assert "bytes cannot unpack to 4,000,000,000" in refused(read, spoilt(file, set_size(4_000_000_000)))


def test_a_member_that_declares_less_than_it_is(file):
    """The checksum is that of the declared part, so that only its length gives it away."""

    def change(data, at):
        start = struct.unpack_from("<I", data, at + 42)[0] + 30 + struct.unpack_from("<H", data, at + 28)[0] + 20
        length = struct.unpack_from("<I", data, at + 20)[0]
        content = zlib.decompressobj(-15).decompress(bytes(data[start : start + length]))
        set_size(len(content) - 8)(data, at)
        data[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(content[:-8]))

    assert "'x' cannot be read" in refused(read, spoilt(file, change))


def test_members_in_one_place(file):
    assert "overlaps what follows it" in refused(
        read, spoilt(file, lambda data, at: data.__setitem__(slice(at + 42, at + 46), bytes(4)))
    )


def test_members_of_one_name(file):
    with zipfile.ZipFile(file, "w") as packed:
        for _ in range(2):
            with pytest.warns(UserWarning) if _ else pytest.MonkeyPatch.context():
                packed.writestr("x.npy", b"")
    assert "two files in it are called 'x.npy'" in refused(read, file)
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("x.npy", b"")
        packed.writestr("x", b"")
    assert "two arrays of one name" in refused(read, file)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions(file, method):
    with zipfile.ZipFile(file, "w", method) as packed:
        packed.writestr("x.npy", bytes(2**20))
    assert "not deflated" in refused(read, file)


def test_too_many_members(file, monkeypatch):
    monkeypatch.setattr("mmppl.data.readers.npz.MOST", 1)
    assert "more than 1 files in it" in refused(read, file)


def test_what_is_packed_must_fit_into_memory(file, tmp_path, monkeypatch):
    np.savez_compressed(file, x=np.zeros((2**20, 2)), y=ROWS[:1])
    monkeypatch.setattr(memory, "available", lambda: 10_000_000)
    assert "what is packed in it takes 17 MB of memory, and 10 MB are free" in refused(read, file)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(np.zeros((2**24,), np.uint8))))
    assert "takes 17 MB of memory" in refused(read_idx, tmp_path / "a.gz")


def test_free_memory_is_what_the_narrowest_limit_leaves(tmp_path, monkeypatch):
    for name, text in {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n",
        "proc/self/cgroup": "4:memory:/outer/inner\n0::/\n",
        "groups/memory/memory.limit_in_bytes": "9223372036854771712",
        "groups/memory/outer/memory.limit_in_bytes": "5000000",
        "groups/memory/outer/memory.usage_in_bytes": "3000000",
        "groups/memory/outer/memory.stat": "cache 7\ntotal_inactive_file 1000000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    assert memory.available() == 3_000_000
    (tmp_path / "proc/self/cgroup").write_text("0::/outer\n")
    assert memory.available() == 8000 * 1024
    (tmp_path / "groups/outer").mkdir()
    for name, text in {"max": "6000000", "current": "5500000", "stat": "anon 1\ninactive_file 250000\n"}.items():
        (tmp_path / "groups/outer" / f"memory.{name}").write_text(text)
    assert memory.available() == 750_000


@pytest.mark.parametrize("suffix", [".npz", ".zip", ".dat"])
def test_only_regular_files_are_opened(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    assert str(path) in refused(read, path)  # and waits for nobody
    path.unlink()
    path.symlink_to("/dev/zero")
    assert str(path) in refused(read, path)
    path.unlink()
    path.symlink_to(path)
    assert str(path) in refused(read, path)
    for name in ("a" * 5000 + suffix, f"a\0{suffix}", f"a\nb{suffix}"):
        with pytest.raises((DataError, UsageError), match=r"^[^\n]*$"):
            read(name)


def test_links_to_regular_files_are_followed(file, tmp_path):
    (tmp_path / "link.npz").symlink_to(file)
    assert read(tmp_path / "link.npz").fingerprint() == read(file).fingerprint()


def test_a_recording_that_is_no_file_is_not_passed_over(tmp_path, monkeypatch):
    for name in ("1_anna_0.wav", "2_anna_0.wav"):
        (tmp_path / name).write_bytes(wav(np.zeros(4000)))
    (tmp_path / "1_anna_1.wav").symlink_to(tmp_path / "none")
    assert "1_anna_1.wav: cannot be read (No such file" in refused(read, tmp_path)
    (tmp_path / "1_anna_1.wav").unlink()
    os.mkfifo(tmp_path / "1_anna_1.wav")
    assert "1_anna_1.wav: a pipe or device" in refused(read, tmp_path)
    monkeypatch.setattr(tree, "MOST", 2)
    assert "more than 2 files in it" in refused(read, tmp_path)


@pytest.mark.parametrize("bits", [1, 4, 12, 15])
def test_samples_of_half_bytes(bits):
    assert f"{bits}-bit samples" in refused(read_wav, patched(wav(np.zeros(100)), 34, "<H", bits), "a.wav")


@pytest.mark.parametrize("rate, good", [(999, False), (1000, True), (384_000, True), (384_001, False)])
def test_rates(rate, good):
    content = wav(np.zeros(100), rate=rate)
    if good:
        assert read_wav(content, "a.wav")[1] == rate
    else:
        assert f"{rate:,} samples a second" in refused(read_wav, content, "a.wav")


def test_long_recordings():
    assert "61 minutes, where 60 are the most" in refused(read_wav, wav(np.zeros(3660 * 1000), 1000, 8), "a.wav")


def test_headers_of_recordings_that_contradict_themselves():
    good = wav(np.zeros(100))
    assert "3 bytes for a sample of 16 bits" in refused(read_wav, patched(good, 32, "<H", 3), "a.wav")
    for twice in (good[36:], good[12:36]):
        content = patched(good[:36] + twice + good[36:], 4, "<I", len(good) + len(twice) - 8)
        assert "several formats or recordings" in refused(read_wav, content, "a.wav")


def test_sizes_of_idx_files_that_only_wrap_around(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**31, 4))
    assert "which cannot be in it" in refused(read_idx, tmp_path / "a")


@pytest.mark.parametrize("side", [8_000, 60_000])
def test_pictures_that_are_too_large(tmp_path, side):
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", b"x")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    (tmp_path / "a.png").write_bytes(content)
    assert "pixels" in refused(photographs, tmp_path)


@pytest.mark.parametrize(
    "number, content, says",
    [
        (0, idx(np.zeros(60_000, np.uint8)), "images of shape"),
        (1, idx(np.full(60_000, 200, np.uint8)), "one digit each"),
    ],
)
def test_digits_of_other_shapes(tmp_path, number, content, says):
    (tmp_path / "mnist").mkdir()
    for name, good in mnist().items():
        (tmp_path / "mnist" / name).write_bytes(content if name == FILES[number] else good)
    with pytest.raises(DataError, match=f"^[^\n]*{says}[^\n]*$"):
        read("mnist-label", root=tmp_path)


@pytest.mark.parametrize(
    "arrays, says",
    [
        ({"x": torch.eye(12).to_sparse(), "y": ROWS}, "tensor of float32, sparse_coo"),
        ({"x": torch.ones(12, device="meta"), "y": ROWS}, "meta tensor"),
        ({1: ROWS, "1": ROWS}, "two arrays are called '1'"),
        ({"x": [2**70, 1] * 6, "y": ROWS}, "is too large for 64 bits"),
        ({"x": ["a" * 20_000, "b"] * 6, "y": ROWS}, "a string of 20,000 characters"),
        ({"x": ["a", None] * 6, "mask_x": np.ones((12, 1)), "y": ROWS}, "'mask_x' is float64 of shape"),
        ({"id": np.arange(12, dtype=np.uint64) + np.uint64(2**63), "y": ROWS}, "too large to be told apart"),
        ({"label": np.array([0, 1e30] * 6), "y": ROWS}, "too large to be told apart"),
        ({"x": np.ma.masked_all((0, 2)), "y": ROWS}, "'x' has no rows"),
    ],
)
def test_arrays_in_memory(arrays, says):
    assert says in refused(read, arrays)


def test_names_that_are_no_strings_may_have_gaps():
    data = read({7: ["a", None, "b"] * 4, "y": ROWS})
    assert [m.name for m in data.modalities] == ["7", "y"] and data.observed["7"].sum() == 8


def test_signs_that_terminals_obey_are_shown_as_escapes():
    assert str(DataError("a\nb\x1b[1m\u202e\u2028")) == r"a\nb\x1b[1m\u202e\u2028"
    assert escaped("می‌روم é") == "می‌روم é"
    for name in ("a\nb", "\x1b[31m", "\u202ex", "x" * 2000):
        assert "cannot be a name" in refused(read, {name: ROWS, "b": ROWS})


def test_ratio_is_that_of_deflate():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    length = len(packer.compress(bytes(2**24)) + packer.flush())
    assert 0.99 * archive.RATIO < 2**24 / length <= archive.RATIO
