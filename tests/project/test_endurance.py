"""The endurance programs find nothing in their quick modes; and they would find something."""

import json
import random
import subprocess
import sys
import time

import pytest

from mmppl import DataError
from mmppl.bench.endurance import kills, mutations
from mmppl.bench.endurance.__main__ import NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_goes_wrong(name):
    command = [sys.executable, "-m", "mmppl.bench.endurance", name, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["program"] == name and found["figures"] and not found["failures"]


def test_each_kind_has_its_program():
    assert NAMES == ["bad_files", "edges", "hostile", "kills", "memory", "mutations", "threads"]


def refuse(folder):
    raise DataError(f"{folder}: damaged.")


def crash(folder):
    raise KeyError("weights")


def wait(folder):
    time.sleep(5)


@pytest.mark.parametrize(
    ("look", "outcome"),
    [
        (lambda folder: 0, "harmless"),
        (lambda folder: 1, "silent"),
        (lambda folder: [0], "silent"),
        (refuse, "reported"),
        (crash, "crashes"),
        (wait, "hangs"),
    ],
)
def test_what_reading_damaged_files_comes_to(look, outcome, tmp_path, monkeypatch):
    monkeypatch.setattr(mutations, "HANGS", 0.05)
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("1234")
    subject = mutations.Subject(tmp_path / "run", tmp_path / "other", lambda folder: 0)
    subject.look = look
    subject.damage(random.Random(0))
    assert subject.outcome()[0] == outcome
    subject.restore()
    assert (tmp_path / "run" / "run.json").read_text() == "1234"


def test_every_kind_of_damage_works_on_every_file():
    chance, others = random.Random(0), {"file": b"other", "run": b""}
    for kind, damage in mutations.DAMAGE.items():
        for data in (b"", b"1", b'{"a": 12}\n{"b": 3}\n', bytes(range(256))):
            for _ in range(20):
                changed = damage(data, others, chance)
                assert changed is None or isinstance(changed, bytes), kind
    assert all(mutations.DAMAGE[kind](b"1", others, chance) != b"1" for kind in ("a bit", "a digit", "all"))


def test_a_fit_that_lost_a_line_is_noticed(tmp_path):
    """The comparison at the end of a killed fit."""
    from mmppl import fit

    data = {"a": [[float(i % 7), float(i % 5)] for i in range(80)]}
    tiny = dict(hyper=dict(hidden=8, layers=1, latent_dim=2), batch_size=16)
    one, other, longer = (
        kills._content(fit("mvae", data, epochs=epochs, out=tmp_path / name, **tiny).folder)
        for name, epochs in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == other
    assert {name for name in one if one[name] != longer[name]} == {"weights", "metrics", "result"}
