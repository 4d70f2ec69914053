"""Pickles: what they hold is converted, and what they ask for is not done."""

import collections
import io
import os
import pickle
import struct

import numpy as np
import pytest

import mmppl
from mmppl.cli import main
from mmppl.data.convert import convert_pickle
from mmppl.data.readers.parts.unpickle import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def saved(tmp_path, data, name="old.pkl"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data))
    return path


def alike(a, b):
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return a == b and type(a) is type(b)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_come_back(tmp_path, protocol):
    shared = [1, 2]
    data = {
        "numbers": [0, 1, -1, 255, 70_000, 2**40, -(2**80), 1.5, True, None],
        "text": ["", "é", "日本", "a" * 300],
        "bytes": [b"", b"\x00\xff", b"x" * 300],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "sets": [{1, 2}, {"a"}, set()],
        "arrays": [
            np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
            np.array(["ab", "é"]), np.array([b"ab", b"c"]), np.zeros((0, 3), np.float32), np.array([True, False]),
            np.array(3.5), np.arange(10)[::2],
        ],
        "scalar": [np.float32(1.5), np.int64(3)],
        "twice": [shared, shared],
    }  # fmt: skip
    found = read_pickle(saved(tmp_path, pickle.dumps(data, protocol)))
    assert alike(found, data)
    assert found["twice"][0] is found["twice"][1]


def test_objects_and_ordered_dicts(tmp_path):
    objects = np.empty(2, object)
    objects[:] = [np.ones(2), "a"]
    found = read_pickle(saved(tmp_path, collections.OrderedDict(a=objects, b=frozenset([1]))))
    assert found["b"] == {1} and alike(found["a"], [np.ones(2), "a"])


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_names_of_both_numpys_and_strings_of_python_2(tmp_path, core):
    """The bytes that Python 2.7 and NumPy 1 write for {'x': array([1.5]), 'é': 'é'} at protocol 2."""
    raw = struct.pack("<d", 1.5)
    data = (
        b"\x80\x02}q\x00(U\x01xq\x01c" + core.encode() + b".multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00"
        b"\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01\x85q\x08cnumpy\ndtype\nq\tU\x02f8q\nK\x00K\x01\x87q\x0bRq\x0c"
        b"(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x08" + raw + b"q\x0ftq\x10b"
        b"U\x02\xc3\xa9q\x11U\x02\xc3\xa9q\x12U\x01\xe9q\x13U\x02\xc3\xa9u."
    )
    found = read_pickle(saved(tmp_path, data))
    assert alike(found["x"], np.array([1.5])) and found["é"] == "é"


class Hostile:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def hostile(text):
    return b"\x80\x04" + text + b"."


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "call, args, named",
    [
        (os.system, ("touch BROKEN",), "system"), (eval, ("open('BROKEN', 'w')",), "eval"),
        (getattr, (1, "real"), "getattr"),
        (exec, ("open('BROKEN', 'w')",), "exec"), (open, ("BROKEN", "w"), "open"), (list, ([1],), "list"),
        (np.fromfile, ("x",), "fromfile"), (np.zeros, ((10**12,),), "zeros"), (__import__, ("os",), "import"),
    ],
)  # fmt: skip
def test_what_calls_something_is_refused_with_its_name(tmp_path, monkeypatch, protocol, call, args, named):
    monkeypatch.chdir(tmp_path)
    for data in (Hostile(call, *args), {"x": [np.ones(2), Hostile(call, *args)]}, np.array([Hostile(call, *args)])):
        with pytest.raises(mmppl.DataError, match=f"asks for .*{named}.*not executed") as error:
            read_pickle(saved(tmp_path, pickle.dumps(data, protocol)))
        assert "\n" not in str(error.value)
    assert os.listdir() == ["old.pkl"]


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return "elsewhere" if value == 5 else None


def persistent(protocol):
    buffer = io.BytesIO()
    Persistent(buffer, protocol).dump([5])
    return buffer.getvalue()


REFUSED = {
    "persistent id": (persistent(4), "BINPERSID"),
    "persistent id of protocol 0": (persistent(0), "PERSID"),
    "instance": (b"(ios\nsystem\n.", "INST"),
    "extension": (hostile(b"\x82\x01"), "EXT1"),
    "buffer elsewhere": (hostile(b"\x97"), "NEXT_BUFFER"),
    "codec": (hostile(b"c_codecs\nencode\n\x8c\x01a\x8c\x05rot13\x86R"), "Latin-1"),
    "bytes of a size": (hostile(b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R"), "bytes"),
    "name with dots": (hostile(b"\x8c\x05numpy\x8c\x0endarray.mro_at\x93"), "numpy.ndarray.mro_at"),
    "a function as a value": (hostile(b"cnumpy\nndarray\n"), "function"),
    "state of a function": (hostile(b"c_codecs\nencode\n}b"), "state"),
    "state of a list": (hostile(b"]}b"), "state"),
    "call of a string": (hostile(b"\x8c\x01a)R"), "call of a str"),
    "control characters": (hostile(b"\x8c\x03a\nb\x8c\x02\x1b[\x93"), r"a\\nb"),
    "type of records": (hostile(b"cnumpy\ndtype\n\x8c\x07f8, f8 \x89\x88\x87R"), "type"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_ways_out_are_refused(tmp_path, case):
    data, named = REFUSED[case]
    with pytest.raises(mmppl.DataError, match=named):
        read_pickle(saved(tmp_path, data))


def array_state(shape, kind, raw):
    """An array whose state says what it likes."""
    state = pickle.dumps((1, shape, np.dtype(kind), False, raw), 2)[2:-1]
    return b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state + b"b."


LAUGHS = b"\x80\x04" + b"]\x94" + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(40))
BOMBS = {
    "array of a terabyte": array_state((10**12,), "f8", b""),
    "negative shape": array_state((-1,), "f8", b""),
    "objects that are not there": array_state((10**12,), "O", []),
    "memo far away": b"\x80\x04]r\xff\xff\xff\x7f0j\xff\xff\xff\x00.",
    "a string of 4 GB": b"\x80\x04X\xff\xff\xff\xff.",
    "a byte array of an exabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
    "a frame of an exabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N",
    "lists without an end": b"\x80\x04]\x94h\x00a.",
    "deep lists": b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b".",
    "many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "nothing": b"",
    "half": pickle.dumps([np.arange(100.0)])[:-200],
    "two values": b"\x80\x04NN.",
    "no mark": b"\x80\x04Ne.",
    "a mark alone": b"\x80\x04(.",
    "key that is a tuple": pickle.dumps({(1, 2): 3}),
    "text": b"hello, world\n",
}


@pytest.mark.parametrize("case", BOMBS)
def test_sizes_that_lie_are_refused_in_a_line(tmp_path, case):
    with pytest.raises(mmppl.DataError, match="not a whole pickle of plain data") as error:
        read_pickle(saved(tmp_path, BOMBS[case]))
    assert "\n" not in str(error.value)


def test_lists_that_occur_many_times_are_counted_before_they_are_written_out(tmp_path):
    few = [1.0] * 10
    for _ in range(30):
        few = [few, few]
    with pytest.raises(mmppl.DataError, match="of memory"):
        convert_pickle(saved(tmp_path, {"x": few}), tmp_path / "new.npz")


def test_any_dict_of_arrays(tmp_path):
    data = {"gene": np.arange(12.0).reshape(6, 2), "label": list("ababab"), "more": {"age": np.arange(6)}}
    shapes = convert_pickle(saved(tmp_path, data), tmp_path / "new.npz")
    assert shapes == {"gene": (6, 2), "label": (6,), "more_age": (6,)}
    found = mmppl.read(tmp_path / "new.npz")
    assert [m.name for m in found.modalities] == ["gene", "label", "more_age"]
    assert np.load(tmp_path / "new.npz")["gene"].tolist() == data["gene"].tolist()
    for wrong, says in (({"x": [[1], [2, 3]]}, "ragged"), ([1, 2], "list"), ({}, "no array"), ({"x": None}, "'x'")):
        with pytest.raises(mmppl.DataError, match=says):
            convert_pickle(saved(tmp_path, wrong), tmp_path / "other.npz")
    with pytest.raises(mmppl.DataError, match="there already"):
        convert_pickle(saved(tmp_path, data), tmp_path / "new.npz")
    with pytest.raises(mmppl.DataError, match="ends in .npz"):
        convert_pickle(saved(tmp_path, data), tmp_path / "new.csv")


def test_utterances_of_dialogues(tmp_path):
    """The pickles of bc-LSTM: (videos, utterances, F), of which a video has so many."""
    r = np.random.default_rng(0)
    x, length = r.normal(size=(3, 4, 5)), np.array([4, 2, 3])
    y = np.arange(12).reshape(3, 4) % 2
    data = (x[:2], y[:2], x[2:], y[2:], 4, length[:2], length[2:])
    convert_pickle(saved(tmp_path, data, "text.pickle"), tmp_path / "new.npz")
    file = np.load(tmp_path / "new.npz")
    assert (file["text"] == np.concatenate([x[0], x[1, :2], x[2, :3]])).all()
    assert file["label"].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert file["id"].tolist()[4:7] == ["train-1[0]", "train-1[1]", "test-0[0]"]
    assert mmppl.read(tmp_path / "new.npz").rows("test").tolist() == [6, 7, 8]
    bad = (x[:2], y[:2], x[2:], y[2:], 4, length[:2] + 9, length[2:])
    with pytest.raises(mmppl.DataError, match="train part"):
        convert_pickle(saved(tmp_path, bad), tmp_path / "bad.npz")


def test_on_the_command_line(tmp_path, capsys):
    path = saved(tmp_path, {"gene": np.arange(12.0).reshape(6, 2), "label": list("ababab")})
    assert main(["data", str(path)]) == 5
    assert "mmppl data --convert" in capsys.readouterr().err
    assert main(["data", "--convert", str(path), str(tmp_path / "new.npz")]) == 0
    assert "gene" in capsys.readouterr().out
    assert len(mmppl.read(tmp_path / "new.npz")) == 6
