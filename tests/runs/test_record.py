"""run.json: what is written comes back, and damaged files are reported."""

import dataclasses
import errno

import pytest

from mmppl import Modality
from mmppl.base.files import sha256
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
    logged=0,
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


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": {"../secret": HASH}}, "sha256 names '../secret', which is no file of a run"),
        ({"sha256": {"weights.safetensors": HASH}}, "no file of a run"),
        ({"sha256": {"program.py": "0"}}, "sha256.program.py is '0', no hash"),
        ({"sha256": {"weights-0000000000000000.safetensors": HASH}}, "no hash of that file"),
        (
            {"sha256": {f"weights-{h[:16]}.safetensors": h for h in (HASH, HASH[::-1])}},
            "sha256 names several files of weights",
        ),
        ({"logged": -1}, "logged is negative"),
    ],
)
def test_files_that_no_run_has(change, says, tmp_path):
    write_record(tmp_path, Spoilt(WHOLE.to_json() | change))
    with pytest.raises(DataError, match=f"^[^\n]*not what a fit writes: [^\n]*{says}[^\n]*$"):
        read_record(tmp_path)


def test_other_weights_take_the_place_of_those_before():
    one, other = WHOLE.with_metrics(3, HASH).with_weights(b"one"), WHOLE.with_weights(b"one").with_weights(b"other")
    assert WHOLE.weights is None and one.weights == f"weights-{sha256(b'one')[:16]}.safetensors"
    assert one.sha256 == {"metrics.jsonl": HASH, one.weights: sha256(b"one")} and one.logged == 3
    assert other.sha256 == {f"weights-{sha256(b'other')[:16]}.safetensors": sha256(b"other")}


def test_a_format_of_another_version(tmp_path):
    write_record(tmp_path, dataclasses.replace(WHOLE, format=2))
    with pytest.raises(DataError, match="format 2, this version reads 3. Use the version that wrote it."):
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
