"""run.json: what is written comes back, and damaged files are reported."""

import copy
import dataclasses
import os

import pytest

from mmppl import Modality
from mmppl.base.files import sha256
from mmppl.errors import DataError
from mmppl.runs.record import DataRecord, ProgramRecord, ResultRecord, RunRecord, UsedFile, read_record, write_record

H = "0123456789abcdef" * 4  # a hash
WHOLE = RunRecord(
    program=ProgramRecord("mvae", H),
    hyper={"hidden": 16},
    training={"epochs": 2},
    modalities=(Modality("a", (2,)), Modality("label", (), "categorical", role="label", classes=(0, 1))),
    data=DataRecord(
        "digits-three", "digits-three:seed=0", 9, H, H, H, declared={"a": "normal"}, unseen={"label": (1, "c")}
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
    use=(UsedFile("mine.py", H),),
    result=ResultRecord(2, 1.5, 3.0, {"kl.z": 1}, {"kl.z": 1.0}, {"error.label": None}, 20, 30, 20),
    id=H[:32],
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
    "name", [f.name for f in dataclasses.fields(RunRecord) if f.name not in ("format", "result", "use", "terms", "id")]
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
        ("program", {"name": "../mvae"}, "program.name is '../mvae', expected the name of a file"),
        ("program", {"name": ".."}, "program.name is '..', expected the name of a file"),
        ("program", {"sha256": "0" * 63}, "program.sha256 is '000.*expected 64 hexadecimal digits"),
        ("data", {"n": -1}, "data.n is -1, expected a number of rows"),
        ("data", {"hide": 1.0}, "data.hide is 1.0, expected a share"),
        ("data", {"hide": -0.1}, "data.hide is -0.1, expected a share"),
        ("data", {"fingerprint": "g" * 64}, "data.fingerprint is 'ggg.*expected 64 hexadecimal digits"),
        ("data", {"spec": "a\0b"}, "data.spec is .*expected no null byte"),
        ("data", {"unseen": {"none": [1]}}, r"data.unseen is \['none'\], expected names of modalities"),
        ("result", {"epochs": 0}, "result.epochs is 0, expected at least 1"),
        ("result", {"seconds": -1}, "result.seconds is -1, expected at least 0"),
        ("result", {"loss": 10**400}, "result.loss is 1000.*expected float"),
        ("result", {"weights": {}}, r"result.weights is \[\], expected one for each term"),
        ("hyper", {"a": {"b": 1}}, "hyper.a is .*expected a number, text or a list"),
        ("hyper", {"a": [[[[1]]]]}, "hyper.a is .*expected a number, text or a list"),
        ("training", {"a": [{}]}, "training.a is .*expected a number, text or a list"),
        ("sha256", {"../weights": H}, "a name in sha256 is '../weights', expected the name of a file"),
        ("sha256", {"weights": "0"}, "sha256.weights is '0', expected 64 hexadecimal digits"),
    ],
)
def test_a_part_of_a_field_is_named(part, change, says, tmp_path):
    data = copy.deepcopy(WHOLE.to_json())
    data[part] |= change
    write_record(tmp_path, Spoilt(data))
    with pytest.raises(DataError, match=says):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 2**64}, "seed is 18446744073709551616, expected 64 bits"),
        ({"seed": -(2**63) - 1}, "seed is .*expected 64 bits"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
        ({"threads": 2**17}, "threads is 131072, expected at least 1, and no more than"),
        ({"id": "../../etc"}, "id is '../../etc', expected 32 hexadecimal digits"),
        ({"modalities": []}, r"modalities is \[\], expected one or several"),
        ({"modalities": [WHOLE.modalities[0].to_json()] * 2}, r"modalities is \['a', 'a'\], expected one or several"),
    ],
)
def test_a_field_out_of_range(change, says, tmp_path):
    write_record(tmp_path, Spoilt(WHOLE.to_json() | change))
    with pytest.raises(DataError, match=f"^[^\n]*run.json: not what a fit writes: {says}[^\n]*$"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": [0]}, "no sample has the shape"),
        ({"shape": [2**20, 2**21]}, "no sample has the shape"),
        ({"shape": [2.0]}, r"shape\[0\] is 2.0, expected int"),
        ({"shape": [True, 2]}, r"shape\[0\] is True, expected int"),
        ({"likelihood": 3}, "likelihood is 3, expected str"),
        ({"role": "guide"}, "role is 'guide', expected"),
        ({"scale": -1.0}, "a: scale -1.0 is not a positive number"),
        ({"scale": "huge"}, "scale is 'huge', expected"),
        ({"classes": ["x", "x"]}, "a: two of its classes have the same name"),
        ({"features": ["x"]}, "a: 2 features need as many names"),
        ({"transform": "standardise", "shift": [0.0, 0.0]}, "a: it has a shift or a spread, and not both"),
        ({"shift": [0.0], "spread": [1.0]}, "a: 1 shifts and 1 spreads for 2 features"),
        ({"shift": [0.0, 0.0], "spread": [1.0, 0.0]}, "a: a spread is not positive"),
        ({"shift": [0.0, 0.0], "spread": [1.0, -2.0]}, "a: a spread is not positive"),
        ({"shift": [0.0, None], "spread": [1.0, 1.0]}, r"shift.*None"),
        ({"input_scaling": {"transform": "log1p", "shift": [0.0], "spread": [1.0]}}, "a: 1 shifts and 1 spreads for 2"),
        ({"input_scaling": {"curve": "log1p"}}, "input_scaling.curve is unknown"),
        ({"learned": {}}, "learned is {}, expected"),
    ],
)
def test_a_modality_that_none_can_be(change, says, tmp_path):
    data = copy.deepcopy(WHOLE.to_json())
    data["modalities"][0] |= change
    write_record(tmp_path, Spoilt(data))
    with pytest.raises(DataError, match=f"^[^\n]*run.json: not what a fit writes: [^\n]*{says}[^\n]*$"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": {"../secret": H}}, "a name in sha256 is '../secret', expected the name of a file"),
        ({"sha256": {"weights.safetensors": H}}, "a name in sha256 is .*expected that of a file of a run"),
        ({"sha256": {"program.py": "0"}}, "sha256.program.py is '0', expected 64 hexadecimal digits"),
        ({"sha256": {"weights-0000000000000000.safetensors": H}}, "expected the hash in its name"),
        (
            {"sha256": {f"weights-{h[:16]}.safetensors": h for h in (H, H[::-1])}},
            "sha256 is .*expected one file of weights",
        ),
        ({"logged": -1}, "logged is -1, expected a number of bytes"),
    ],
)
def test_files_that_no_run_has(change, says, tmp_path):
    write_record(tmp_path, Spoilt(WHOLE.to_json() | change))
    with pytest.raises(DataError, match=f"^[^\n]*not what a fit writes: [^\n]*{says}[^\n]*$"):
        read_record(tmp_path)


def test_other_weights_take_the_place_of_those_before():
    one, other = WHOLE.with_metrics(3, H).with_weights(b"one"), WHOLE.with_weights(b"one").with_weights(b"other")
    assert WHOLE.weights is None and one.weights == f"weights-{sha256(b'one')[:16]}.safetensors"
    assert one.sha256 == {"metrics.jsonl": H, one.weights: sha256(b"one")} and one.logged == 3
    assert other.sha256 == {f"weights-{sha256(b'other')[:16]}.safetensors": sha256(b"other")}


def test_a_format_of_another_version(tmp_path):
    write_record(tmp_path, dataclasses.replace(WHOLE, format=2))
    with pytest.raises(DataError, match="format 2, this version reads 3. Use the version that wrote it."):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{}", b"3", b"\xff", b"[" * 90_000, b"[]," * 200_000, b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 1, "a": 1}'],
    ids=lambda data: data[:12].decode(errors="replace"),
)
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


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_run_json_that_is_no_file_of_the_run(kind, tmp_path):
    file = tmp_path / "run" / "run.json"
    file.parent.mkdir()
    if kind == "link":
        write_record(tmp_path, WHOLE)
        file.symlink_to(tmp_path / "run.json")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    with pytest.raises(
        DataError, match="^[^\n]*run.json: cannot be read .(a link|no regular file)[^\n]*Restore[^\n]*$"
    ):
        read_record(tmp_path / "run")
