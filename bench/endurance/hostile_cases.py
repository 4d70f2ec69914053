"""What a stranger can put into a run folder: each case changes a good run, and makes every hash fit where it can."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmppl.base.files import sha256

if TYPE_CHECKING:
    from .hostile import Stage

GONE = object()  # the field is left out
ASK = ("show", "query", "evaluate")
DRAW = ("show", "plot")
Change = Callable[["Stage"], None]


@dataclass(frozen=True)
class Case:
    """One of them.

    Args:
        change: does it.
        commands: that are then tried.
        within: whether the run folder is the working folder of the commands.
        of_file: whether the run was fitted elsewhere on a file, not here on a recipe.
    """

    change: Change
    commands: tuple[str, ...] = ASK
    within: bool = False
    of_file: bool = False


CASES: dict[str, Case] = {}


def case(**options: Any) -> Callable[[Change], Change]:
    def add(change: Change) -> Change:
        CASES[change.__name__.replace("_", " ")] = Case(change, **options)
        return change

    return add


def place(path: str, value: Any) -> Change:
    """Change one field of run.json; {outside} in a text becomes the path of that folder."""

    def change(stage: Stage) -> None:
        record = stage.record()
        *above, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
        inner: Any = record
        for part in above:
            inner = inner[part]
        if value is GONE:
            inner.pop(last, None)
        else:
            inner[last] = value.replace("{outside}", str(stage.outside)) if isinstance(value, str) else value
        stage.write(record)

    return change


# field of run.json, and values that a fit never writes there; or that it does, for other data or another program
FIELDS: dict[str, tuple[Any, ...]] = {
    "seed": (2**70, 1.5, "0"),
    "threads": (0, 10**9),
    "format": (99,),
    "status": ("ended", "running"),
    "device": ("cpu\x1b]0;owned\x07", "x" * 10**6),
    "versions": ({"torch": ["2"]}, {"\x1b[2J": "\x1b[2J"}),
    "id": ("../../etc/passwd", "0" * 32, GONE),
    "sha256": ({}, [], {"../../outside/secret.txt": "0" * 64}, {"program.py": "no hash"}),
    "program/name": ("../outside/evil", "mvae\n", "torch", ""),
    "program/sha256": ("0" * 64,),
    "use": ([{"name": "evil.py", "sha256": "0" * 64}], [{"name": "/etc/passwd", "sha256": "0" * 64}], "evil.py"),
    "data/spec": (
        "{outside}/secret.npz", "{outside}", "{outside}/pipe", "../outside/secret.npz", "/dev/zero", "/", "",
        "mnist-photo-text:photos={outside}", "mnist-label", "digits-two-view:seed=/../../outside/secret.npz",
        "digits-two-view:rotate=\x1b[2J", "a\0b", "\ud800", "x" * 10**5, "http://127.0.0.1:9/data.npz",
    ),
    "data/root": ("{outside}", "/dev/fd/0"),
    "data/declared": ({"label": "__import__"}, {"label": "ignore"}, {"none": "normal"}, {"label": "normal:scale=nan"}),
    "data/hide": (1.5, -0.5, 0.5),
    "data/n": (-1, 10**30),
    "data/fingerprint": ("0" * 64, "\x1b[2J"),
    "data/unseen": ({"none": [1]}, {"label": [[1]]}),
    "modalities": ([], {}),
    "modalities/0/name": ("../x", "progress", "z", "a.b", "", "noisy", "\x1b[2J", "\ud800", "x" * 10**6),
    "modalities/0/shape": ([10**9, 10**9], [4096, 4096], [-8, -8], [0], ["8"], [True, 64], [8], [2**63], [1] * 10**4),
    "modalities/0/likelihood": ("categorical", "../evil", "registry", "normal"),
    "modalities/0/scale": (-1.0, "learned", 10**400),
    "modalities/0/role": ("guide", "label"),
    "modalities/0/transform": ("standardise", "eval", "log1p"),
    "modalities/0/shift": ([0.0], [0.0] * 64, ["0"]),
    "modalities/0/features": (["a"] * 64, ["a"]),
    "modalities/0/input_scaling": ({"transform": "none", "shift": None, "spread": 3}, {"curve": 1}),
    "modalities/0/learned": ({"log_scale": [0.0]},),
    "modalities/2/classes": ([], [0, 0], [True, False], list(range(10**5)), [0, 1], None),
    "hyper/hidden": (10**9, -5, 0, [8], {"a": 1}, "eight", 2**63),
    "hyper/layers": (10**9, -1, 0),
    "hyper/latent_dim": (10**12, 0),
    "hyper/activation": ("exec",),
    "hyper/unknown": (1,),
    "hyper/subsets": ([[[[1]]]],),
    "training": ({"epochs": [{}]}, [], {"\x1b[2J": 1}),
    "result/loss": (10**400, None),
    "result/weights": ({},),
    "result/seconds": (-1.0,),
    "result": (3,),
}  # fmt: skip
for _path, _values in FIELDS.items():
    for _number, _value in enumerate(_values):
        CASES[f"{_path} {_number}"] = Case(place(_path, _value))
for _number, _value in enumerate(("{outside}/secret.npz", "{outside}", "/dev/zero", "{outside}/pipe")):
    CASES[f"data of a stranger {_number}"] = Case(place("data/spec", _value), of_file=True)


# run.json as text

TEXTS = {
    "not utf-8": b'{"seed": "\xff\xfe"}',
    "a number that is none": b'{"seed": NaN, "digest": "0"}',
    "an infinite number": b'{"seed": 1e999, "digest": "0"}',
    "nested deep": b"[" * 90_000 + b"]" * 90_000,
    "many lists": b"[" + b"[]," * 5_000_000 + b"[]]",
    "an endless number": b'{"seed": ' + b"9" * 100_000 + b"}",
    "empty": b"",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "no object": b"3",
}
for _name, _text in TEXTS.items():
    CASES[f"run.json: {_name}"] = Case(lambda stage, text=_text: (stage.run / "run.json").write_bytes(text) and None)  # type: ignore[misc]


@case()
def run_json_says_a_key_twice(stage: Stage) -> None:
    file = stage.run / "run.json"
    file.write_text('{"seed": 5, ' + file.read_text()[1:])


@case()
def run_json_is_cut(stage: Stage) -> None:
    file = stage.run / "run.json"
    file.write_bytes(file.read_bytes()[:-20])


# What is no file of the run


def instead(name: str, kind: str) -> Change:
    """Put a link, a pipe, a device, a socket, a folder or a file of a terabyte in the place of a file of the run."""

    def change(stage: Stage) -> None:
        file = stage.run / (stage.weights if name == "weights" else name)
        if file.exists():
            data = file.read_bytes()
            file.unlink()
            (stage.outside / "moved").write_bytes(data)
        file.parent.mkdir(exist_ok=True)
        if kind == "link":
            file.symlink_to(stage.outside / "moved")
        elif kind == "device":
            file.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "socket":
            here = os.getcwd()
            os.chdir(file.parent)  # its path must be short
            socket.socket(socket.AF_UNIX).bind(file.name)
            os.chdir(here)
        elif kind == "folder":
            file.mkdir()
        else:
            with open(file, "wb") as opened:
                opened.truncate(2**40)

    return change


for _file in ("run.json", "program.py", "weights", "metrics.jsonl"):
    for _kind in ("link", "device", "pipe", "socket", "folder", "terabyte"):
        _commands = DRAW if _file == "metrics.jsonl" else ASK
        CASES[f"{_file}: a {_kind}"] = Case(instead(_file, _kind), _commands)
for _file in ("README.md", ".lock", "state/LATEST", "state/step-1/weights.safetensors"):
    CASES[f"{_file}: a pipe"] = Case(instead(_file, "pipe"))


@case(commands=DRAW)
def figures_are_a_link(stage: Stage) -> None:
    (stage.run / "figures").symlink_to(stage.outside)


@case(commands=DRAW)
def a_figure_is_a_link(stage: Stage) -> None:
    (stage.run / "figures").mkdir()
    (stage.run / "figures" / "loss.png").symlink_to(stage.outside / "secret.txt")


@case()
def states_are_a_link(stage: Stage) -> None:
    shutil.rmtree(stage.run / "state")
    (stage.run / "state").symlink_to(stage.outside)


# The weights


def header(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change the header of the weights file, with hashes that fit."""

    def do(stage: Stage) -> None:
        data = (stage.run / stage.weights).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        found = json.loads(data[8 : 8 + length])
        text = change(found)
        text = text if isinstance(text, bytes) else json.dumps(found).encode()
        stage.seal(stage.weights, struct.pack("<Q", len(text)) + text + data[8 + length :])

    return do


def first(found: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in found.values() if len(one["shape"]) == 2)


for _name, _header in {
    "another type": lambda found: first(found).update(dtype="I32"),
    "an unknown type": lambda found: first(found).update(dtype="PICKLE"),
    "shapes turned": lambda found: first(found)["shape"].reverse(),
    "a huge shape": lambda found: first(found).update(shape=[2**40, 2**40]),
    "a negative shape": lambda found: first(found).update(shape=[-8, -8]),
    "offsets beyond the end": lambda found: first(found).update(data_offsets=[0, 2**50]),
    "one in another": lambda found: [one.update(data_offsets=[0, 4]) for one in found.values()],
    "another name": lambda found: found.update({"x" * 10**5: found.pop(next(iter(found)))}),
    "a control character": lambda found: found.update({"\x1b[2J": found.pop(next(iter(found)))}),
    "much more text": lambda found: found.update(__metadata__={"a": "b" * 10**7}),
    "nested deep": lambda found: b"[" * 10**5,
    "not utf-8": lambda found: b"\xff" * 100,
    "nothing": lambda found: found.clear(),
}.items():
    CASES[f"weights: {_name}"] = Case(header(_header))
for _name, _bytes in {"a huge header": struct.pack("<Q", 2**62), "empty": b"", "a pickle": b"\x80\x04N."}.items():
    CASES[f"weights: {_name}"] = Case(lambda stage, data=_bytes: stage.seal(stage.weights, data))  # type: ignore[misc]


@case()
def weights_that_are_not_finite(stage: Stage) -> None:
    data = bytearray((stage.run / stage.weights).read_bytes())
    data[-4096:] = struct.pack("<f", float("nan")) * 1024
    stage.seal(stage.weights, bytes(data))


# Code


@case()
def another_program(stage: Stage) -> None:
    (stage.run / "program.py").write_bytes(stage.evil)


@case()
def another_program_with_its_hashes(stage: Stage) -> None:
    stage.seal("program.py", stage.evil)
    place("program/sha256", sha256(stage.evil))(stage)


@case()
def another_program_of_no_known_name(stage: Stage) -> None:
    another_program_with_its_hashes(stage)
    place("program/name", "evil")(stage)


@case()
def a_used_file_that_lies_in_the_run(stage: Stage) -> None:
    (stage.run / "evil.py").write_bytes(stage.evil)
    place("use", [{"name": "evil.py", "sha256": sha256(stage.evil)}])(stage)


@case(within=True)
def modules_in_the_working_folder(stage: Stage) -> None:
    for name in ("mmppl", "torch", "platformdirs", "sitecustomize", "mvae", "numpy"):
        (stage.run / f"{name}.py").write_bytes(stage.evil)


@case(within=True)
def a_file_of_the_name_of_the_recipe(stage: Stage) -> None:
    shutil.copy(stage.outside / "secret.npz", stage.run / "digits-two-view")


# metrics.jsonl

LINES: dict[str, Any] = {
    "no object": 3,
    "nothing": {},
    "terms that are none": {"train": 3},
    "values that are none": {"train": {"nll": "x"}},
    "an epoch that is none": {"epoch": 10**9},
    "many terms": {"weights": {f"t{i}": 1.0 for i in range(20_000)}},
    "a control character": {"metrics": {"\x1b[2J": 1.0}},
    "no loss": {"loss": None},
}
for _name, _line in LINES.items():

    def _changed(stage: Stage, line: Any = _line) -> None:
        whole = json.loads((stage.run / "metrics.jsonl").read_text().splitlines()[0])
        text = json.dumps({**whole, **line} if isinstance(line, dict) and line else line)
        stage.seal("metrics.jsonl", text.encode() + b"\n")

    CASES[f"metrics.jsonl: {_name}"] = Case(_changed, DRAW)
for _name, _text in {"nested deep": b"[" * 10**5, "not utf-8": b"\xff\n", "many lines": b"{}\n" * 10**5}.items():
    CASES[f"metrics.jsonl: {_name}"] = Case(lambda stage, text=_text: stage.seal("metrics.jsonl", text), DRAW)  # type: ignore[misc]
