"""Arrays that must be refused: in .npz files whose headers lie, as mappings, and as DataFrames."""

from __future__ import annotations

import datetime
import decimal
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmppl.data.read import read

Try = Callable[[], object]  # does what must be refused
Case = tuple[str, Callable[[Path], Try]]  # writes what it needs into a folder, and returns the try

ROWS = np.arange(24, dtype=np.float64).reshape(12, 2) / 7


def npy(shape: str, descr: str = "'<f8'", data: bytes = ROWS.tobytes(), *, version: int = 1, order: str = "False",
        more: str = "") -> bytes:  # fmt: skip
    """An .npy file, whose header is what it is told to be."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{more}, }}".encode("latin-1")
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header) % (2**16 if version == 1 else 2**32))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def stored(array: np.ndarray) -> bytes:
    """An array as an .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip file."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def of_npz(name: str, content: bytes | np.ndarray, **others: np.ndarray) -> Case:
    """The case of an .npz file whose array `x` is bad."""

    def prepare(folder: Path) -> Try:
        one = content if isinstance(content, bytes) else stored(content)
        path = packed(folder / "bad.npz", {"x.npy": one} | {f"{key}.npy": stored(a) for key, a in others.items()})
        return lambda: read(path)

    return f"npy: {name}", prepare


def headers() -> Iterator[Case]:
    """Headers that are damaged, or that say other than what there is."""
    shapes = [
        "(True, 3)",
        "(False, 2)",
        "(12, True)",
        "(-12, -2)",
        "(-1, 2)",
        "(12, -2)",
        "(12.0, 2)",
        "('12', 2)",
        "(12, None)",
        "(12, 2, 0)",
        "(0, 2)",
        "(0,)",
        "(12, 0)",
        "(4611686018427387904, 0)",
        "(0, 9223372036854775808)",
        "()",
        "(24, 2)",
        "(11, 2)",
        "(1099511627776, 2)",
        "(2, 18446744073709551616)",
        "(4294967296, 4294967296)",
        "(9999999999999, 9999999999999, 99)",
        "[12, 2]",
        "12",
        "None",
        "(12, (2,))",
        "(" + "1, " * 60 + "24)",
        "(12, 1j)",
        "'ab'",
        "{12: 2}",
        "(12, 2",
        "(0x7fffffffffffffff, 2)",
    ]
    for shape in shapes:
        yield of_npz(f"shape {shape[:40]}", npy(shape))
    types = [
        "'|O'",
        "'O8'",
        "'<M8[ns]'",
        "'<m8[D]'",
        "'<c16'",
        "'<c8'",
        "'|V8'",
        "[('a', '<f8')]",
        "[('a', '<f4'), ('b', 'O')]",
        "[('a', '<f8', (2,))]",
        "'<U0'",
        "'|S0'",
        "'|V0'",
        "'<U4000000000'",
        "'<f7'",
        "'<f8,<f8'",
        "'nonsense'",
        "8",
        "None",
        "[]",
        "('<f8', (2,))",
        "[('a', [('b', [('c', '<f8')])])]",
        "'<f4'",
        "'<f16'",
        "[[]]",
        "['<f8']",
        "{'names': ['a'], 'formats': ['<f8']}",
    ]
    for kind in types:
        yield of_npz(f"type {kind[:40]}", npy("(12, 2)", kind))
    yield of_npz("complex numbers", ROWS.astype(complex))
    yield of_npz("dates", np.arange(12).astype("M8[D]"))
    yield of_npz("records", np.zeros(12, [("a", "f8"), ("b", "i4")]))
    yield of_npz("halves", np.where(ROWS == 0, np.nan, ROWS))
    yield of_npz("infinite", np.where(ROWS == 0, -np.inf, ROWS))
    yield of_npz("one value", np.array(3.0))
    yield of_npz("bytes that are no UTF-8", np.array([b"\xff\xfe", b"a"] * 6))
    yield of_npz("bools of 7", npy("(12, 2)", "'|b1'", b"\7" * 24))
    yield of_npz("beyond Unicode", npy("(12,)", "'<U1'", struct.pack("<12I", *[0x110000] * 12)))
    yield of_npz("halves of signs", npy("(12,)", "'<U1'", struct.pack("<12I", *[0xD800, 97] * 6)))
    yield of_npz("version 3", npy("(12, 2)", version=3))
    yield of_npz("version 9", npy("(12, 2)", version=9))
    yield of_npz("no Fortran", npy("(12, 2)", order="'yes'"))
    yield of_npz("another key", npy("(12, 2)", more=", 'more': 1"))
    yield of_npz("nested deep", npy("(" * 300 + ")" * 300))
    yield of_npz("a long header", npy("(12, 2)" + " " * 60_000))
    yield of_npz("a call in the header", npy("__import__('os').getcwd()"))
    yield of_npz("data cut", npy("(12, 2)")[:-1])
    yield of_npz("data appended", npy("(12, 2)") + b"\0")
    yield of_npz("header alone", npy("(12, 2)", data=b""))
    yield of_npz("header cut", npy("(12, 2)")[:40])
    yield of_npz("magic alone", b"\x93NUMPY")
    yield of_npz("nothing", b"")
    yield of_npz("text", b"1,2\n3,4\n")
    yield of_npz("a pickle", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\5posix\x94.")
    yield of_npz("other lengths", ROWS, y=np.arange(11.0))
    yield of_npz("mask of nothing", ROWS, mask_q=np.ones(12, bool))
    yield of_npz("mask of cells", ROWS, mask_x=np.ones((12, 2), bool))
    yield of_npz("mask of twos", ROWS, mask_x=np.full(12, 2))
    yield of_npz("all masked", ROWS, mask_x=np.zeros(12, bool))
    yield of_npz("ids twice", ROWS, id=np.zeros(12, int))
    yield of_npz("ids of NaN", ROWS, id=np.full(12, np.nan))
    yield of_npz("ids of infinity", ROWS, id=np.full(12, np.inf))
    yield of_npz("ids beyond 64 bits", ROWS, id=np.arange(12, dtype=np.uint64) + np.uint64(2**63))
    yield of_npz("ids of 1e300", ROWS, id=np.arange(12) + 1e300)
    yield of_npz("unknown parts", ROWS, split=np.arange(12) % 5)
    yield of_npz("parts of NaN", ROWS, split=np.full(12, np.nan))
    yield of_npz("no train rows", ROWS, split=np.full(12, 2))
    yield of_npz("classes of 1e30", ROWS, label=np.array([0, 1e30] * 6))
    yield of_npz("classes beyond 64 bits", ROWS, label=np.array([1, 2**64 - 1] * 6, np.uint64))
    yield of_npz("one class", ROWS, label=np.zeros(12, int))
    yield of_npz("too large to be squared", ROWS * 1e200)
    yield of_npz("one row", ROWS[:1])
    yield of_npz("free text", ROWS, text=np.array([f"note {i}" for i in range(60)]).repeat(1)[:12].repeat(1), z=ROWS)


class Frame:
    """What looks like a DataFrame and is none."""

    columns = ("a",)

    def to_numpy(self) -> np.ndarray:
        return ROWS

    def __getitem__(self, name: str) -> Frame:
        return self

    def __len__(self) -> int:
        return 12


def of_memory(name: str, make: Callable[[], Any]) -> Case:
    """The case of something that is in memory."""

    def prepare(folder: Path) -> Try:
        source = make()
        return lambda: read(source)

    return f"in memory: {name}", prepare


def mappings() -> Iterator[Case]:
    """Mappings of arrays, lists and tensors."""
    columns: dict[str, Callable[[], Any]] = {
        "a set": lambda: {1.0, 2.0},
        "a text": lambda: "abc",
        "None": lambda: None,
        "a number": lambda: 3.0,
        "a dict": lambda: {"a": 1},
        "an object": lambda: object(),
        "a function": lambda: read,
        "an iterator": lambda: iter([1.0, 2.0]),
        "ragged lists": lambda: [[1.0], [1.0, 2.0]] * 6,
        "lists of texts and numbers": lambda: [1.0, "a", None] * 4,
        "dates": lambda: [datetime.date(2020, 1, 1)] * 12,
        "decimals": lambda: [decimal.Decimal(1)] * 12,
        "whole numbers beyond 64 bits": lambda: [2**70, 1] * 6,
        "complex": lambda: [1j] * 12,
        "bytes that are no UTF-8": lambda: [b"\xff"] * 12,
        "lone halves of signs": lambda: ["\ud800", "a"] * 6,
        "a long string": lambda: ["a" * 20_000, "b"] * 6,
        "nothing": lambda: [],
        "no columns": lambda: np.zeros((12, 0)),
        "masked, of no rows": lambda: np.ma.masked_all((0, 2)),
        "masked in part, and infinite": lambda: np.ma.masked_equal(np.r_[np.arange(23.0), np.inf].reshape(12, 2), 3),
        "a sparse tensor": lambda: torch.eye(12).to_sparse(),
        "a complex tensor": lambda: torch.ones(12, dtype=torch.complex64),
        "a tensor of no device": lambda: torch.ones(12, device="meta"),
        "a quantised tensor": lambda: torch.quantize_per_tensor(torch.ones(12), 0.1, 0, torch.quint8),
        "a tensor of 8-bit floats": lambda: torch.ones(12).to(torch.float8_e4m3fn),
        "objects in two dimensions": lambda: np.array([["a", 1]] * 12, object),
    }
    for name, make in columns.items():
        yield of_memory(name, lambda make=make: {"x": make(), "other": ROWS})  # type: ignore[misc]
    names = [
        "",
        "a b",
        "a\nb",
        "a\x1b[31m",
        "a.b",
        "id2\0",
        "z",
        "data",
        "x" * 5000,
        "\ud800",
        "‮x",
        "forward",
        "a\u2028b",
    ]
    for name in names:
        yield of_memory(f"the name {name[:20]!r}", lambda name=name: {name: ROWS, "other": ROWS})  # type: ignore[misc]
    yield of_memory("one name twice", lambda: {1: ROWS, "1": ROWS})
    yield of_memory("no arrays", lambda: {})
    yield of_memory("ids alone", lambda: {"id": np.arange(12)})
    yield of_memory(
        "a mask of another shape", lambda: {"x": ["a", None] * 6, "mask_x": np.ones((12, 1)), "other": ROWS}
    )
    yield of_memory("an empty id", lambda: {"id": ["a", None] * 6, "other": ROWS})
    yield of_memory("a list", lambda: [1, 2])
    yield of_memory("None for all", lambda: None)
    yield of_memory("a number for all", lambda: 3)


def frames() -> Iterator[Case]:
    """DataFrames, where pandas is installed."""
    try:
        import pandas as pd
    except ImportError:
        return
    columns: dict[str, Callable[[], Any]] = {
        "dates": lambda: pd.date_range("2020", periods=12),
        "spans of time": lambda: pd.timedelta_range("1D", periods=12),
        "periods": lambda: pd.period_range("2020", periods=12, freq="D"),
        "intervals": lambda: pd.interval_range(0, 12),
        "lists": lambda: [[1.0]] * 12,
        "complex": lambda: [1j] * 12,
        "mixed": lambda: [1, "a", None] * 4,
        "infinite": lambda: [np.inf, 1.0] * 6,
        "nothing at all": lambda: [None] * 12,
        "large whole numbers": lambda: [2**70] * 12,
        "a text among texts of its own": lambda: [f"note {i}" * 3000 for i in range(12)],
    }
    for name, make in columns.items():
        yield of_memory(f"frame, {name}", lambda make=make: pd.DataFrame({"x": make(), "o": ROWS[:, 0]}))  # type: ignore[misc]
    yield of_memory("frame, a column twice", lambda: pd.DataFrame(ROWS, columns=["a", "a"]))
    yield of_memory("frame, an index twice", lambda: pd.DataFrame(ROWS, columns=["a", "b"], index=[1] * 12))
    yield of_memory("frame, no rows", lambda: pd.DataFrame({"a": np.zeros(0)}))
    yield of_memory("frame, no columns", lambda: pd.DataFrame(index=range(12)))
    yield of_memory("frame, a group of two kinds", lambda: pd.DataFrame({"m:a": ROWS[:, 0], "m:b": ["x"] * 12}))
    yield of_memory("frame, a group and a column", lambda: pd.DataFrame({"m:a": ROWS[:, 0], "m": ROWS[:, 1]}))
    yield of_memory(
        "frame, columns of two levels", lambda: pd.DataFrame({("a", "b"): ROWS[:, 0], ("a", "c"): ROWS[:, 1]})
    )
    yield of_memory("frame, a feature of two lines", lambda: pd.DataFrame({"m:a\nb": ROWS[:, 0], "m:c": ROWS[:, 1]}))
    yield of_memory("frame, none", Frame)
