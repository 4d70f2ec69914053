"""run.json: what is written comes back, and damaged files are reported."""

import dataclasses
import errno

import pytest

from mmppl import Modality
from mmppl.errors import DataError
from mmppl.runs.record import DataRecord, ProgramRecord, ResultRecord, RunRecord, UsedFile, read_record, write_record

WHOLE = RunRecord(
    program=ProgramRecord("mvae", "0"),
    hyper={"hidden": 16},
    training={"epochs": 2},
    modalities=(Modality("a", (2,)), Modality("label", (), "categorical", role="label", classes=(0, 1))),
    data=DataRecord(
        "digits-three", "digits-three:seed=0", 9, "1", "2", "3", declared={"a": "normal"}, unseen={"b": (1, "c")}
    ),
    seed=0,
    threads=1,
    gemm="default",
    kernels="pytorch",
    device="cpu",
    versions={"torch": "2"},
    status="done",
    sha256={},
    mmppl="0",
    use=(UsedFile("mine.py", "4"),),
    result=ResultRecord(2, 1.5, 3.0, {"kl.z": 1}, {"kl.z": 1.0}, {}),
)


def test_what_is_written_comes_back(tmp_path):
    write_record(tmp_path, WHOLE)
    assert read_record(tmp_path) == WHOLE
    running = dataclasses.replace(WHOLE, status="running", result=None)
    write_record(tmp_path, running)
    assert read_record(tmp_path) == running


class Spoilt:
    """A record whose JSON is another."""

    def __init__(self, data):
        self.data = data

    def to_json(self):
        return self.data


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(RunRecord) if f.name not in ("format", "result", "use")]
)
@pytest.mark.parametrize("wrong", [None, 3.5, [], [{}], "gone"], ids=str)
def test_a_field_that_is_not_there_or_of_another_type(name, wrong, tmp_path):
    data = WHOLE.to_json() | {name: wrong}
    if wrong == "gone":
        del data[name]
    write_record(tmp_path, Spoilt(data))
    with pytest.raises(DataError, match=f"^[^\n]*run.json: not what a fit writes: {name}[^\n]*Restore[^\n]*$"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("data", {"n": "9"}, "data.n is '9', expected int"),
        ("data", {"hide": True}, "data.hide is True, expected float"),
        ("data", {"more": 1}, "data.more is unknown"),
        ("result", {"terms": {"kl.z": None}}, "result.terms.kl.z is None, expected float"),
        ("program", {"name": 3}, "program.name is 3, expected str"),
    ],
)
def test_a_part_of_a_field_is_named(part, change, says, tmp_path):
    data = WHOLE.to_json()
    data[part] |= change
    write_record(tmp_path, Spoilt(data))
    with pytest.raises(DataError, match=says):
        read_record(tmp_path)


def test_a_format_of_another_version(tmp_path):
    write_record(tmp_path, dataclasses.replace(WHOLE, format=1))
    with pytest.raises(DataError, match="format 1, this version reads 2. Use the version that wrote it."):
        read_record(tmp_path)


@pytest.mark.parametrize("data", [b"[]", b"{}", b"3", b"\xff", b"[" * 100_000])
def test_a_damaged_run_json(data, tmp_path):
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(DataError, match="^[^\n]*run.json: damaged[^\n]*$"):
        read_record(tmp_path)


def test_a_run_json_that_was_changed(tmp_path):
    write_record(tmp_path, WHOLE)
    file = tmp_path / "run.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(DataError, match="its hash is wrong"):
        read_record(tmp_path)


def test_a_run_json_that_cannot_be_read(tmp_path, monkeypatch):
    write_record(tmp_path, WHOLE)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DataError, match="^[^\n]*run.json: cannot be read .Permission denied.[^\n]*Restore[^\n]*$"):
        read_record(tmp_path)
