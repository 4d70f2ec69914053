"""States that a fit resumes from: which are kept, and how damaged ones are reported."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from torch import nn

from mmppl.base.disk.parts import part_in
from mmppl.base.files import pack, sha256, unpack, write
from mmppl.core.stages import Group
from mmppl.errors import DataError
from mmppl.train.checkpoint import Counters, save_state, sweep
from mmppl.train.checkpoint import load_state as load
from mmppl.train.optimiser import load_moments, moments_of, optimiser_of

COUNTERS = Counters(epoch=2, step=10, best_epoch=1, seconds=1.5, best=math.inf)


def trained(size=3, optimiser="adam"):
    """A module and its optimiser after one step."""
    program = nn.Linear(size, 2)
    group = Group("program", program.parameters(), optimiser, options={} if optimiser != "sgd" else {"momentum": 0.9})
    optimiser = optimiser_of(group, 1e-3, torch.device("cpu"))
    program(torch.ones(1, size)).sum().backward()
    optimiser.step()
    return program, group, optimiser


def save(run, program, group, optimiser, counters=COUNTERS):
    save_state(run, program, moments_of(program, [optimiser]), counters)


def load_state(run, program, group, optimiser):
    """The counters of the state that was loaded; None where there is none."""
    found = []

    def restore(counters, moments):
        load_moments(program, [(group, optimiser)], moments)
        found.append(counters)

    return found[0] if load(run, program, restore) else None


def at(step):
    return dataclasses.replace(COUNTERS, step=step)


@pytest.fixture
def run(tmp_path):
    save(tmp_path, *trained())
    return tmp_path


def states(run):
    return {path.name for path in (run / "state").iterdir()}


def rewrite(run, name, data):
    """Another content under a right hash."""
    place = run / "state" / "step-10"
    hashes = json.loads((place / "hashes.json").read_bytes())
    (place / name).write_bytes(data)
    (place / "hashes.json").write_text(json.dumps(hashes | {name: sha256(data)}))


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_a_state_comes_back_whole(tmp_path, kind):
    program, group, optimiser = trained(optimiser=kind)
    save(tmp_path, program, group, optimiser)
    drawn = torch.rand(3)
    again, group, fresh = trained(optimiser=kind)
    assert load_state(tmp_path, again, group, fresh) == COUNTERS
    assert torch.equal(torch.rand(3), drawn) and torch.equal(again.weight, program.weight)
    assert optimiser.state[program.weight]
    for key, value in optimiser.state[program.weight].items():
        assert torch.equal(fresh.state[again.weight][key], value)


def test_the_new_state_and_the_one_before_are_kept(run):
    for step in (20, 30):
        save(run, *trained(), at(step))
    assert states(run) == {"LATEST", "step-20", "step-30"}


def test_started_anew_the_old_states_go_and_not_the_new_ones(run):
    for step in (90, 100):
        save(run, *trained(), at(step))
    (run / "state" / "LATEST").unlink()
    assert load_state(run, *trained()) is None
    for step, kept in ((5, {"step-5"}), (10, {"step-5", "step-10"}), (15, {"step-10", "step-15"})):
        save(run, *trained(), at(step))
        assert states(run) == {"LATEST", *kept}
        assert load_state(run, *trained()) == at(step)


def test_what_is_no_state_is_left_alone(run):
    (run / "state" / "step-foo").mkdir()
    save(run, *trained(), at(20))
    assert "step-foo" in states(run)


@pytest.mark.parametrize(
    "latest", [b"\xff\xfe", b"../../x", b"/etc", b"", b"step-", b"step-foo", b"step-10/../step-10"]
)
def test_a_latest_that_names_no_state(run, latest):
    (run / "state" / "LATEST").write_bytes(latest)
    for call in (lambda: load_state(run, *trained()), lambda: save(run, *trained(), at(20))):
        with pytest.raises(DataError, match="^[^\n]*LATEST: damaged[^\n]*Remove it to start anew.$"):
            call()


def changed(**counters):
    return json.dumps(dataclasses.asdict(COUNTERS) | counters).encode()


@pytest.mark.parametrize(
    "name, data, says",
    [
        ("counters.json", b"{}", "counters.json"),
        ("counters.json", b"[1]", "counters.json"),
        ("counters.json", b"\xff", "counters.json"),
        ("counters.json", changed(epoch="2"), "counters.json"),
        ("counters.json", changed(step=-1), "counters.json"),
        ("counters.json", changed(best=None), "counters.json"),
        ("weights.safetensors", b"", "safetensors"),
        ("weights.safetensors", pack({"weight": torch.zeros(7)}), "do not fit"),
        ("generators.safetensors", pack({}), "do not fit"),
        ("generators.safetensors", pack({"cpu": torch.zeros(3)}), "do not fit"),
        ("optimiser.safetensors", pack({"step/weight": torch.tensor(1.0)}), "moments of weight"),
        ("optimiser.safetensors", pack({"nonsense": torch.zeros(1)}), "nonsense"),
    ],
)
def test_a_state_of_the_right_hash_that_is_not_one(run, name, data, says):
    rewrite(run, name, data)
    with pytest.raises(DataError, match="^[^\n]*(Remove|Restore)[^\n]*$") as error:
        load_state(run, *trained())
    assert says in str(error.value)


@pytest.mark.parametrize("hashes", [b"{}", b"[]", b"3", b"\xff", b"{", b'{"counters.json": 1}', b"[" * 100_000])
def test_damaged_hashes(run, hashes):
    (run / "state" / "step-10" / "hashes.json").write_bytes(hashes)
    with pytest.raises(DataError, match="^[^\n]*Remove [^\n]*LATEST to start anew.$"):
        load_state(run, *trained())


def test_weights_of_another_program(run):
    with pytest.raises(DataError, match="^[^\n]*step-10[^\n]*do not fit[^\n]*$"):
        load_state(run, *trained(size=4))


def test_a_file_that_is_not_there(run):
    (run / "state" / "step-10" / "weights.safetensors").unlink()
    with pytest.raises(DataError, match="^[^\n]*weights.safetensors: cannot be read[^\n]*Remove[^\n]*$"):
        load_state(run, *trained())


def test_a_state_folder_that_is_a_link_is_refused(run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (run / "state").rename(elsewhere / "state")
    (run / "state").symlink_to(elsewhere / "state")
    (elsewhere / "state" / ".mine.part").write_text("mine")
    calls = (lambda: load_state(run, *trained()), lambda: save(run, *trained(), at(20)), lambda: sweep(run))
    for call in calls:
        with pytest.raises(DataError, match="^[^\n]*state: a link[^\n]*$"):
            call()
    assert states(run) == {"LATEST", "step-10", ".mine.part"}


def test_a_write_goes_through_no_link_and_a_sweep_neither(tmp_path, monkeypatch):
    monkeypatch.setattr("mmppl.base.disk.parts._numbers", itertools.repeat(7))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    (tmp_path / "run").mkdir()
    for link in ("a", part_in(tmp_path).name):
        (tmp_path / "run" / link).symlink_to(tmp_path / "mine" / "text")
    write(tmp_path / "run" / "a", b"new")
    assert (tmp_path / "run" / "a").read_bytes() == b"new" and not (tmp_path / "run" / "a").is_symlink()
    (tmp_path / "run" / ".b.part").symlink_to(tmp_path / "mine")
    sweep(tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["a"]
    assert (tmp_path / "mine" / "text").read_text() == "mine"


def test_a_type_of_number_that_torch_lacks(tmp_path):
    header = b'{"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}'
    with pytest.raises(DataError, match="not a safetensors file"):
        unpack(len(header).to_bytes(8, "little") + header + b"\0", tmp_path)
