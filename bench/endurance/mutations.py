"""Files of a finished run, of an unfinished one and of its states are damaged as disks, copies and slips damage them.
What reads them must say so in one line, or answer as if nothing had happened."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .trial import HungError, Trial, limited

if TYPE_CHECKING:
    from mmppl import Run

HANGS = 20.0  # seconds
FITTED: dict[str, Any] = dict(hyper=dict(hidden=8, layers=1, latent_dim=2), epochs=3, batch_size=32, patience=3)


def run(*, quick: bool, seed: int) -> Trial:
    """Damage files.

    Args:
        quick: 200 times; else 10,000 times.
        seed: of what is damaged, and how.

    Returns:
        How often that was reported, harmless, silent, a crash or a hang.
    """
    chance, place = random.Random(seed), Path(tempfile.mkdtemp(prefix="mmppl-mutations-"))
    found: Counter[str] = Counter(dict.fromkeys(("reported", "harmless", "silent", "crashes", "hangs"), 0))
    trial = Trial()
    try:
        subjects = _subjects(place, seed)
        for _ in range(200 if quick else 10_000):
            name, subject = chance.choice(list(subjects.items()))
            kind, file = subject.damage(chance)
            outcome, words = subject.outcome()
            found[outcome] += 1
            found[f"of {name}"] += 1
            if outcome not in ("reported", "harmless"):
                trial.failures.append(f"{name}, {kind} of {file}: {outcome} {words}")
            subject.restore()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    trial.figures |= {"mutations": sum(found[name] for name in ("reported", "harmless", "silent", "crashes", "hangs"))}
    trial.figures |= dict(found)
    return trial


class Subject:
    """A run that is damaged and read.

    Args:
        folder: of the run.
        other: a folder of another run of the same program, whose files are mistaken for its own.
        look: what is read of it.
        resumes: the fit goes on when it is read.
    """

    def __init__(self, folder: Path, other: Path, look: Callable[[Path], Any], resumes: bool = False) -> None:
        self.folder, self.look, self.resumes = folder, look, resumes
        files = {path.relative_to(other): path for path in other.rglob("*") if path.is_file()}
        self.others = {_role(name): path.read_bytes() for name, path in files.items()}
        self.kept = folder.with_name(f"{folder.name}-kept")
        shutil.copytree(folder, self.kept)
        self.expected = look(folder)
        self.damaged: Path | None = None
        self.restore()

    def damage(self, chance: random.Random) -> tuple[str, Path]:
        """Damage one file; which, and how."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != ".lock")
        likely = [
            1.0 if self.resumes or "state" not in path.parts else 0.1 for path in files
        ]  # who opens reads no state
        file = chance.choices(files, likely)[0]
        name = file.relative_to(self.folder)
        others = {"file": chance.choice(files).read_bytes(), "run": self.others.get(_role(name), b"")}
        kind = chance.choice(list(DAMAGE))
        data = DAMAGE[kind](file.read_bytes(), others, chance)
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        self.damaged = name
        return kind, name

    def outcome(self) -> tuple[str, str]:
        """What reading it comes to, and the words of an error."""
        from mmppl import MMPPLError

        began = time.monotonic()
        try:
            with limited(HANGS):
                found = self.look(self.folder)
        except HungError:
            return "hangs", f"after {time.monotonic() - began:.0f} s"
        except MMPPLError as error:
            return ("reported", "") if "\n" not in str(error) else ("crashes", f"several lines: {error}")
        except Exception as error:
            return "crashes", f"{type(error).__name__}: {error}"
        return ("harmless", "") if _same(found, self.expected) else ("silent", "")

    def restore(self) -> None:
        """Bring everything back."""
        if self.resumes or self.damaged is None:
            shutil.rmtree(self.folder)
            shutil.copytree(self.kept, self.folder)
        else:
            shutil.copyfile(self.kept / self.damaged, self.folder / self.damaged)


def _role(name: Path) -> str:
    """The name of a file of a run, less what depends on its content."""
    return re.sub("[0-9a-f]{16}", "", str(name))


def _flipped(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 1, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _digit(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    """Another digit somewhere: the file remains one that can be read."""
    places = [i for i, byte in enumerate(data[:20_000]) if 48 <= byte <= 57]
    if not places:
        return _flipped(data, others, chance)
    i = chance.choice(places)
    return data[:i] + bytes([48 + (data[i] - 48 + chance.randrange(1, 10)) % 10]) + data[i + 1 :]


def _part(data: bytes, chance: random.Random) -> tuple[int, int]:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return (first, last) if chance.random() < 0.5 else (first, min(len(data), first + 1))


def _cut_out(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    first, last = _part(data, chance)
    return data[:first] + data[last:]


def _doubled(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    first, last = _part(data, chance)
    return data[:last] + data[first:]


def _zeroed(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    first, last = _part(data, chance)
    return data[:first] + bytes(last - first) + data[last:]


def _line_gone(data: bytes, others: dict[str, bytes], chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


DAMAGE: dict[str, Callable[[bytes, dict[str, bytes], random.Random], bytes | None]] = {
    "a bit": _flipped,
    "a digit": _digit,
    "the end": lambda data, others, chance: data[: chance.randrange(len(data) + 1)],
    "more at the end": lambda data, others, chance: data + chance.randbytes(chance.randrange(1, 100)),
    "a piece": _cut_out,
    "a doubled piece": _doubled,
    "a zeroed piece": _zeroed,
    "a line": _line_gone,
    "all": lambda data, others, chance: b"",
    "the file": lambda data, others, chance: None,
    "another file's content": lambda data, others, chance: others["file"],
    "another run's content": lambda data, others, chance: others["run"],
}


def _subjects(place: Path, seed: int) -> dict[str, Subject]:
    """A finished run; one that was stopped, as a reader sees it; and that one resumed."""
    from mmppl import fit, read

    rng = np.random.default_rng(seed)
    a = rng.normal(size=(60, 3))
    data = read({"a": a, "b": a[:, :2] + 0.3 * rng.normal(size=(60, 2)), "label": np.arange(60) % 2})

    def stop(progress: Any) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    for name, own in (("finished", seed), ("another", seed + 1)):
        fit("mvae", data, seed=own, out=place / name, **FITTED)
    for name, own in (("stopped", seed), ("another stopped", seed + 1)):
        with suppress(KeyboardInterrupt):
            fit("mvae", data, seed=own, out=place / name, on_step=stop, **FITTED)
    shutil.copytree(place / "stopped", place / "resumed")

    def opened(folder: Path) -> Any:
        from mmppl import Run

        found = Run.load(folder)
        answer = found.query(data, want=["b", "label"], draws=2, rows=slice(0, 2))
        return [_content(found), *(array for _, array in sorted(answer.arrays().items()))]

    def resumed(folder: Path) -> Any:
        return _content(fit("mvae", data, seed=seed, out=folder, resume=True, **FITTED))

    return {
        "a finished run": Subject(place / "finished", place / "another", opened),
        "a stopped run": Subject(place / "stopped", place / "another stopped", opened),
        "a resumed run": Subject(place / "resumed", place / "another stopped", resumed, resumes=True),
    }


def _content(run: Run) -> list[Any]:
    """What is known of a run; without times, which no two fits have in common."""
    lines = [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]
    result = {} if run.record.result is None else run.record.result.to_json() | {"seconds": 0.0}
    weights = [parameter.detach().numpy() for _, parameter in sorted(run.program.state_dict().items())]
    return [lines, result, run.record.status, run.record.data, run.record.modalities, run.record.hyper, *weights]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)
