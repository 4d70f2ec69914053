"""Loading the weights of a run: sizes are compared before anything is allocated."""

import dataclasses
import json
import shutil
import struct

import numpy as np
import pytest
import torch

import mmppl
from mmppl.base.files import pack
from mmppl.core.hyperparameters import hyper_parameters
from mmppl.core.loading import installed_programs
from mmppl.errors import DataError, MMPPLError, UsageError
from mmppl.runs import weights
from mmppl.runs.record import read_record, write_record

HYPER = {"hidden": 8, "layers": 1, "latent_dim": 2}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return mmppl.fit("mvae", "digits-two-view", hyper=HYPER, epochs=1).save(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def folder(fitted, tmp_path):
    """A copy of the run, to be changed."""
    return shutil.copytree(fitted.folder, tmp_path / "run")


def change(folder, **hyper):
    record = read_record(folder)
    write_record(folder, dataclasses.replace(record, hyper={**record.hyper, **hyper}))


def seal(folder, data):
    record = read_record(folder).with_weights(data)
    (folder / record.weights).write_bytes(data)
    write_record(folder, record)


@pytest.mark.parametrize("name", sorted(installed_programs()))
def test_every_program_can_be_planned_without_numbers(name):
    cls = mmppl.load_program(name)
    modalities = mmppl.read("digits-three" if name != "cmmd" else "digits-two-view").modalities
    hyper = {key: value for key, value in HYPER.items() if key in hyper_parameters(cls)}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    real = weights._schema(cls(modalities, **hyper))
    torch.set_rng_state(before)
    shapes = {key: ("F32", shape) for key, (_, shape) in real.items()}
    with torch.device("meta"), weights._Planning(shapes):
        planned = weights._schema(cls(modalities, **hyper))
    assert planned == real and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "hyper", [{"hidden": 10**7}, {"layers": 10**9}, {"latent_dim": 10**12}, {"hidden": 10**9, "layers": 10**9}], ids=str
)
def test_a_program_that_is_larger_than_its_weights_is_never_built(hyper, folder, monkeypatch):
    change(folder, **hyper)
    monkeypatch.setattr(weights, "_build", lambda *_: pytest.fail("built"))
    with pytest.raises(DataError, match="^[^\n]*larger program than its weights are of[^\n]*$"):
        mmppl.Run.load(folder)


@pytest.mark.parametrize("hyper", [{"hidden": 9}, {"layers": 2}, {"latent_dim": 3}, {"norm": False}], ids=str)
def test_a_program_of_another_shape_is_never_built(hyper, folder, monkeypatch):
    change(folder, **hyper)
    monkeypatch.setattr(weights, "_build", lambda *_: pytest.fail("built"))
    with pytest.raises(DataError, match="^[^\n]*weights and program do not fit[^\n]*$"):
        mmppl.Run.load(folder)


@pytest.mark.parametrize("hyper", [{"hidden": -5}, {"hidden": 0}, {"layers": -1}, {"hidden": 2**63}], ids=str)
def test_a_program_that_cannot_be_built(hyper, folder):
    change(folder, **hyper)
    with pytest.raises(MMPPLError, match="^[^\n]*$"):
        mmppl.Run.load(folder)


NEEDS_NUMBERS = """
import torch
from mmppl.programs.mvae import MVAE as Base


class Own(Base):
    def __init__(self, modalities, *, hidden: int = 8):
        super().__init__(modalities, hidden=hidden, layers=1, latent_dim=2)
        self.register_buffer("largest", torch.tensor(float(torch.ones(3).max())))
"""


def test_a_program_that_looks_at_numbers_while_it_is_built(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(NEEDS_NUMBERS)
    run = mmppl.fit(file, "digits-two-view", epochs=1).save(tmp_path / "run")
    again = mmppl.Run.load(run.folder, program=file)
    assert all(torch.equal(v, run.program.state_dict()[k]) for k, v in again.program.state_dict().items())
    change(run.folder, hidden=9)
    with pytest.raises(DataError, match="weights and program do not fit"):
        mmppl.Run.load(run.folder, program=file)


def header(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_a_header_of_another_kind_of_number(folder):
    found, rest = header((folder / read_record(folder).weights).read_bytes())
    name = next(iter(found))
    found[name]["dtype"] = "I32"
    text = json.dumps(found).encode()
    seal(folder, struct.pack("<Q", len(text)) + text + rest)
    with pytest.raises(DataError, match=f"{name} is I32 of shape .*torch.float32"):
        mmppl.Run.load(folder)


def test_a_header_with_much_more_text(folder):
    found, rest = header((folder / read_record(folder).weights).read_bytes())
    text = json.dumps({"__metadata__": {"a": "b" * 10**6}, **found}).encode()
    seal(folder, struct.pack("<Q", len(text)) + text + rest)
    with pytest.raises(DataError, match="bytes are too many for its"):
        mmppl.Run.load(folder)


def test_weights_of_double_precision_are_converted(folder, fitted):
    seal(folder, pack({k: v.double() for k, v in fitted.program.state_dict().items()}))
    again = mmppl.Run.load(folder).program.state_dict()
    assert all(torch.equal(v, fitted.program.state_dict()[k]) for k, v in again.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value, folder, fitted):
    values = {k: v.clone() for k, v in fitted.program.state_dict().items()}
    name = next(n for n, _ in fitted.program.named_parameters())
    values[name].view(-1)[-1] = value
    seal(folder, pack(values))
    with pytest.raises(DataError, match=f"{name} is not finite"):
        mmppl.Run.load(folder)


def test_weights_for_which_there_is_no_memory(folder, monkeypatch):
    monkeypatch.setattr("mmppl.base.memory.available", lambda: 10)
    monkeypatch.setattr(weights, "check_regular", lambda file: 2**30)
    monkeypatch.setattr(weights, "LONGEST", 2**30)
    with pytest.raises(DataError, match="the program with these weights takes 2.* of memory"):
        mmppl.Run.load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": None}, "label: it has no classes"),
        (
            {"likelihood": "normal", "scale": "learned", "classes": None, "transform": "standardise"},
            "learnt no numbers",
        ),
        ({"likelihood": "bernoulli", "scale": "learned", "classes": None}, "bernoulli has no scale 'learned'"),
    ],
)
def test_a_schema_that_lacks_what_is_learnt_from_data(change, says, folder):
    record = read_record(folder)
    *modalities, label = record.modalities
    write_record(folder, dataclasses.replace(record, modalities=(*modalities, dataclasses.replace(label, **change))))
    with pytest.raises(UsageError, match=says):
        mmppl.Run.load(folder)


def test_what_is_loaded_answers_as_before(fitted):
    asked = dict(given="rotated", want="label", rows=slice(3), draws=4)
    first, second = (run.query(**asked)["label"]["prob"] for run in (fitted, mmppl.Run.load(fitted.folder)))
    assert np.array_equal(first, second)
