"""Readers by registry: built-in ones by the folder listing, a user's by import; and what is refused."""

import importlib.util
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from mmppl.data import readers
from mmppl.data.read import read
from mmppl.data.readers.registry import READERS, Arrays, reader
from mmppl.errors import DataError, UsageError

CSV = """
    import csv

    import numpy as np

    from mmppl.data.readers.registry import reader


    @reader("comma-separated")
    class CommaSeparated:
        def accepts(self, source):
            return str(source).endswith(".mine")

        def read(self, source, request):
            with open(source, newline="") as file:
                rows = list(csv.DictReader(file))
            return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
"""


@pytest.fixture
def table(tmp_path):
    """A csv file of another suffix and what is in it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=30), "b": rng.normal(size=30), "label": np.arange(30) % 3})
    frame.to_csv(tmp_path / "table.mine", index=False)
    return tmp_path / "table.mine", frame


@pytest.fixture
def forget():
    """Takes out afterwards what a test registers."""
    before = set(READERS)
    yield
    for name in set(READERS) - before:
        READERS.forget(name)


def imported(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_users_reader_is_one_file(tmp_path, table, forget):
    path, frame = table
    with pytest.raises(DataError, match="not a whole .npz file"):
        read(path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(CSV))
    imported(tmp_path / "mine.py")
    for source in (path, str(path)):
        data = read(source, as_={"b": "ignore"})
        assert data.name == "table.mine" and [m.name for m in data.modalities] == ["a", "label"]
    assert read(path).fingerprint() == read({name: frame[name].to_numpy(float) for name in frame}).fingerprint()


def test_a_built_in_reader_is_one_file(tmp_path, table, monkeypatch, forget):
    (tmp_path / "comma_separated.py").write_text(
        textwrap.dedent(CSV).replace("from mmppl.data.readers.registry", "from .registry")
    )
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path)])
    monkeypatch.setattr(readers.__spec__, "submodule_search_locations", readers.__path__)
    monkeypatch.setattr(READERS, "_files", None)
    assert read(table[0]).name == "table.mine"
    sys.modules.pop("mmppl.data.readers.comma_separated")


def test_what_a_reader_returns_is_read_in_turn(table, forget):
    path, frame = table

    @reader("pandas")
    class Pandas:
        def accepts(self, source):
            return str(source).endswith(".mine")

        def read(self, source, request):
            return pd.read_csv(source, float_precision="round_trip")

    data = read(path)
    assert data.name == "table.mine" and len(data) == 30 and data.fingerprint() == read(frame).fingerprint()


def test_the_newest_reader_is_asked_first(tmp_path, forget):
    np.savez(tmp_path / "x.npz", x=np.arange(20.0))

    @reader("twice")
    class Twice:
        def accepts(self, source):
            return str(source).endswith(".npz")

        def read(self, source, request):
            assert request.ignored == {"y"} and request.schema is None
            return Arrays({"x": np.arange(20.0), "y": np.arange(20.0), "z": np.arange(20.0)}, "twice")

    with pytest.raises(DataError, match="'z' cannot be the name"):
        read(tmp_path / "x.npz", as_={"y": "ignore"})
    READERS.forget("twice")
    assert read(tmp_path / "x.npz").name == "x.npz"


def test_a_reader_that_returns_no_data_is_named(forget):
    @reader("nonsense")
    class Nonsense:
        def accepts(self, source):
            return source == "nonsense"

        def read(self, source, request):
            return 7

    with pytest.raises(UsageError, match="^reader 'nonsense' returned a int; return arrays by name, or a DataFrame.$"):
        read("nonsense")


class Deaf:
    def read(self, source, request):
        return {}


class Narrow:
    def accepts(self, source):
        return False

    def read(self, source):
        return {}


@pytest.mark.parametrize(
    "name, thing, says",
    [
        ("mine", Deaf, "reader 'mine' lacks a method accepts(self, source); add what is missing."),
        ("mine", Narrow, "lacks a method read(self, source, request);"),
        ("mine", object, "lacks a method accepts(self, source), a method read(self, source, request);"),
        ("mine", len, "lacks a class with the methods"),
        ("npz", Narrow, "reader 'npz' is registered already; choose another name."),
    ],
)
def test_what_is_no_reader_is_refused_when_it_is_registered(name, thing, says):
    before = list(READERS)
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        reader(name)(thing)
    assert says in str(error.value) and list(READERS) == before


def test_readers_are_imported_on_use_only():
    code = """
        import sys
        from mmppl.data.readers.registry import READERS
        names = "npz mapping frame csv recordings recipe dataset sdk ti46 tidigits tokens npy safetensors items"
        names += " parquet feather shards h5mu mudata"
        assert set(names.split()) == set(READERS), list(READERS)
        assert not [name for name in sys.modules if name.startswith("mmppl.data.readers.") and "registry" not in name]
        assert "torch" not in sys.modules
        READERS["frame"]
        assert "mmppl.data.readers.tables.frame" in sys.modules and "mmppl.data.readers.npz" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
