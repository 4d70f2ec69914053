"""Hostile run folders: nothing in them is executed, nothing outside of them is opened, and each ends in an answer that
is right or in one line that says why there is none.

Every case of `hostile_cases` changes a copy of a good run. Commands then run in this process, while an audit hook of
Python records what is opened, executed, loaded, started and connected.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmppl
from mmppl.base.files import sha256
from mmppl.cli import main

from .hostile_cases import CASES, Case
from .trial import HungError, Trial, limited

QUICK = 25  # cases
LONGEST = 10.0  # seconds of a command
SLACK = 100  # MB beside twice the normal peak, which another allocator's moods may cost
LINE = 2000  # characters of an error
LISTS = ("open", "os.listdir", "os.scandir")
RUNS = ("exec", "compile", "import")
STARTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "socket.connect",
    "socket.bind", "socket.getaddrinfo", "ctypes.dlopen", "pickle.find_class", "marshal.load", "urllib.Request",
    "webbrowser.open",
)  # fmt: skip
COMMANDS = {
    "show": ["show", "RUN"],
    "query": ["query", "RUN", "--given", "rotated", "--want", "label,noisy", "--rows", "0:3", "--draws", "4", "--json"],
    "evaluate": ["evaluate", "RUN", "--metric", "error", "--given", "rotated", "--draws", "2", "--json"],
    "plot": ["plot", "RUN", "--figure", "loss"],
}


@dataclass(frozen=True)
class Stage:
    """Where a case is played.

    Args:
        run: a copy of a good run, to be changed.
        outside: a folder that no run may open: secret.npz, secret.txt, a copy of the run, and a root of data sets.
    """

    run: Path
    outside: Path

    @property
    def weights(self) -> str:
        """The name of the weights file."""
        return next(file.name for file in self.run.iterdir() if file.name.startswith("weights"))

    @property
    def evil(self) -> bytes:
        """A program that leaves a mark when it is executed."""
        return f"import pathlib\npathlib.Path({str(self.outside / 'executed')!r}).touch()\n".encode()

    def record(self) -> dict[str, Any]:
        """run.json without its digest."""
        data = json.loads((self.run / "run.json").read_bytes())
        del data["digest"]
        return data

    def write(self, record: dict[str, Any]) -> None:
        """Write run.json with a digest that fits."""
        digest = sha256(json.dumps(record, sort_keys=True).encode())
        (self.run / "run.json").write_text(json.dumps({**record, "digest": digest}))

    def seal(self, name: str, data: bytes) -> None:
        """Put other content into a file of the run, with a hash (and a name) that fits."""
        record, new = self.record(), name
        if name.startswith("weights-"):
            new = f"weights-{sha256(data)[:16]}.safetensors"
            (self.run / name).unlink()
        (self.run / new).unlink(missing_ok=True)
        (self.run / new).write_bytes(data)
        record["sha256"] = {k: v for k, v in record["sha256"].items() if k != name} | {new: sha256(data)}
        if name == "metrics.jsonl" and "logged" in record:
            record["logged"] = len(data)
        self.write(record)


class Recorder:
    """What happens in this process while it is on: an audit hook, which Python cannot take off again.

    Args:
        run: the run folder, in which files may be opened, but none executed.
        own: folders and files that may be opened and executed.
    """

    def __init__(self, run: Path, own: list[str]) -> None:
        self.run, self.own, self.thread = os.path.realpath(run), tuple(map(os.path.realpath, own)), 0
        self.opened: list[str] = []
        self.executed: list[str] = []
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Record what the block does."""
        self.opened, self.executed, self.thread = [], [], threading.get_ident()
        try:
            yield
        finally:
            self.thread = 0

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.thread != threading.get_ident():
            return
        if event in LISTS and isinstance(args[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not self._is_below(path, (self.run, *self.own)):
                self.opened.append(path)
        elif event in RUNS:
            name = args[0].co_filename if event == "exec" else args[1]
            if (
                isinstance(name, str)
                and name
                and name[0] != "<"
                and not self._is_below(os.path.realpath(name), self.own)
            ):
                self.executed.append(f"{event} {name}")
        elif event in STARTS:
            self.executed.append(f"{event} {args[0]!r:.80}")

    @staticmethod
    def _is_below(path: str, places: tuple[str, ...]) -> bool:
        return any(path == place or path.startswith(place.rstrip(os.sep) + os.sep) for place in places)


def run(*, quick: bool, seed: int) -> Trial:
    """Play the cases, `QUICK` of them or all.

    Args:
        quick: some of them, without `evaluate`.
        seed: chooses them.
    """
    trial = Trial()
    chosen = sorted(random.Random(seed).sample(sorted(CASES), QUICK)) if quick else list(CASES)
    with tempfile.TemporaryDirectory(prefix="mmppl-hostile-") as folder, _environment(Path(folder)):
        theatre = Theatre(Path(folder))
        counts = Counter(dict.fromkeys(("executed", "opened", "crashed", "hung", "silent", "changed", "memory"), 0))
        for name in chosen:
            found = theatre.play(CASES[name], quick)
            counts.update({kind for kind, _ in found})
            trial.failures += [f"{name}: {kind}: {what}" for kind, what in found]
        trial.figures = {
            "cases": len(chosen), "commands": theatre.commands, **counts, "normal_peak_mb": round(theatre.normal_peak),
            "largest_peak_mb": round(theatre.largest_peak), "longest_s": round(theatre.longest, 2),
        }  # fmt: skip
    return trial


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """A state folder of its own and no folder of data sets; all as it was afterwards."""
    names, here = ("MMPPL_STATE", "MMPPL_DATA"), os.getcwd()
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["MMPPL_STATE"] = str(folder / "state")
    try:
        yield
    finally:
        os.chdir(here)
        for name in names:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


class Theatre:
    """Good runs, what lies around them, and what the commands say of them.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands, self.longest, self.largest_peak = folder, 0, 0.0, 0.0
        self.stage = Stage(folder / "run", folder / "outside")
        self.stage.outside.mkdir()
        (self.stage.outside / "secret.txt").write_text("secret")
        os.mkfifo(self.stage.outside / "pipe")
        data = mmppl.read("digits-two-view")
        import numpy as np

        values = {m: data.values[m.name][:300].numpy() for m in data.modalities}
        arrays: dict[str, Any] = {m.name: m.value_in_input_units(value) for m, value in values.items()}
        np.savez(self.stage.outside / "secret.npz", **arrays)
        for name, source in (("recipe", "digits-two-view"), ("file", str(self.stage.outside / "secret.npz"))):
            hyper = {"hidden": 8, "layers": 1, "latent_dim": 2}
            mmppl.fit("mvae", source, hyper=hyper, epochs=1, out=folder / "good" / name)
        shutil.rmtree(folder / "state", ignore_errors=True)  # from here on the runs are those of a stranger
        (folder / "state").mkdir(mode=0o700)
        self._reset("recipe")
        self.right = {name: self._do(name)[1] for name in COMMANDS}
        home = [
            sys.prefix,
            sys.base_prefix,
            os.path.dirname(os.__file__),
            str(Path(mmppl.__file__).resolve().parents[1]),
        ]
        cache = [os.environ.get("MMPPL_CACHE", ""), str(folder / "state"), os.devnull, "/proc", "/sys"]
        import matplotlib

        kept = [matplotlib.get_cachedir(), matplotlib.get_configdir(), "/usr/share/fonts"]
        self.recorder = Recorder(self.stage.run, [place for place in (*home, *cache, *kept) if place])
        self.normal_peak = 0.0
        for name in COMMANDS:
            _forget_peak()
            self._do(name)
            self.normal_peak = max(self.normal_peak, _peak())

    def play(self, case: Case, quick: bool) -> list[tuple[str, str]]:
        """Play a case: (kind, what) of everything that went wrong."""
        self._reset("file" if case.of_file else "recipe")
        case.change(self.stage)
        before = self._around()
        found: list[tuple[str, str]] = []
        for name in [name for name in case.commands if not quick or name != "evaluate"]:
            found += [(kind, f"{name}: {what}") for kind, what in self._try(name, case)]
        if self._around() != before:
            found.append(("changed", "files outside of the run"))
        return found

    def _try(self, name: str, case: Case) -> Iterator[tuple[str, str]]:
        os.chdir(self.stage.run if case.within else self.folder)
        _forget_peak()
        began = time.monotonic()
        self.commands += 1
        try:
            with self.recorder.on(), limited(LONGEST):
                code, out, err = self._do(name)
        except HungError:
            yield "hung", f"longer than {LONGEST:.0f} s"
            return
        except BaseException as error:
            yield "crashed", f"{type(error).__name__}: {error}"
            return
        finally:
            os.chdir(self.folder)
            self.longest = max(self.longest, time.monotonic() - began)
            peak = _peak()
            self.largest_peak = max(self.largest_peak, peak)
        lines = err.splitlines()
        yield from (("executed", what) for what in dict.fromkeys(self.recorder.executed))
        yield from (("opened", what) for what in list(dict.fromkeys(self.recorder.opened))[:5])
        if peak > 2 * self.normal_peak + SLACK:
            yield "memory", f"{peak:.0f} MB, normally {self.normal_peak:.0f}"
        if code not in (0, 2, 3, 5) or "internal error" in err:
            yield "crashed", f"code {code}: {err.strip():.300}"
        elif code and (
            out or len(lines[-1:]) != 1 or not lines[-1].startswith("mmppl: error: ") or len(lines[-1]) > LINE
        ):
            yield "crashed", f"no error in one line: {err.strip():.300}"
        elif not code and name in ("query", "evaluate") and (case.of_file or _answer(out) != _answer(self.right[name])):
            yield "silent", f"another answer: {out:.100}"
        if any(ord(sign) < 32 and sign not in "\n\t" for sign in out + err):
            yield "crashed", f"a control character reaches the terminal: {(out + err)!r:.200}"

    def _do(self, name: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(self.stage.run) if word == "RUN" else word for word in COMMANDS[name]])
        return code, out.getvalue(), err.getvalue()

    def _reset(self, name: str) -> None:
        """A good run on the stage, and nothing left of the case before."""
        shutil.rmtree(self.stage.run, ignore_errors=True)
        shutil.copytree(self.folder / "good" / name, self.stage.run)
        for left in ("moved", "executed"):
            (self.stage.outside / left).unlink(missing_ok=True)

    def _around(self) -> dict[str, str]:
        """What lies outside of the run: path → hash."""
        return {
            str(path): sha256(path.read_bytes()) if path.is_file() else ""
            for place in (self.stage.outside, self.folder / "state")
            for path in place.rglob("*")
        }


def _answer(text: str) -> dict[str, Any]:
    """What a command has answered, whatever warnings go with it."""
    return {name: value for name, value in json.loads(text).items() if name != "warnings"}


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The largest resident memory since `_forget_peak`, in MB; 0 where the system does not say."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1000 for line in text.splitlines() if line.startswith("VmHWM"))
