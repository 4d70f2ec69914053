"""How many source files a call passes through, and how long it takes, in one version of mmppl or in two side by side.

    python bench/entries.py                      # the checkout that this file lies in
    python bench/entries.py --against ../before  # beside another one; ratios are this one over the other

Four calls are measured in one warm process per version: `read` of an .npz file of three arrays, `fit` of `mvae` on its
own recipe with 30 % of the modalities missing (2 epochs), `query` of 5 rows of that run, and `evaluate` of it. A fifth
is a new process, `python -m mmppl query RUN --rows 0:1 --want label`. Only public names are used, so that the program
runs on any version. The versions take turns, round by round, and a ratio is the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parents[1]
SOURCES = ("mmppl", "kernels", "programs", "cli")  # folders of a checkout that these calls may enter
WARM = ("read", "fit", "query", "evaluate")
COLD = "cold query"
REPEATS = {"read": 10, "query": 10}  # calls per round; the others take seconds and are called once
ROWS = 200  # rows of the .npz file


def entries(call: Callable[[], object], tree: Path) -> int:
    """Count how often a call passes from one source file of a checkout into another.

    A function call counts if its code lies in the checkout and its caller's code lies in another file (one outside the
    checkout included, since a callback from a foreign library enters a file, too). Each resumption of a generator is a
    call.

    Args:
        call: is called once.
        tree: the root of the checkout.

    Returns:
        The count.
    """
    count = 0
    roots = tuple(str((tree / name).resolve()) + os.sep for name in SOURCES)

    @cache
    def place(file: str) -> str:
        """The file behind links if it lies in the checkout, else ""."""
        real = os.path.realpath(file)
        return real if real.startswith(roots) else ""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event != "call":
            return
        file, caller = place(frame.f_code.co_filename), frame.f_back
        if file and (caller is None or place(caller.f_code.co_filename) != file):
            count += 1

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


def calls(folder: Path) -> dict[str, Callable[[], Any]]:
    """Make the four calls by name, and "run": the run that is queried, fitted into FOLDER/run on first use."""
    import numpy as np

    import mmppl

    random = np.random.default_rng(0)
    image, profile = random.random((ROWS, 8, 8)), random.normal(size=(ROWS, 10))
    np.savez(folder / "three.npz", image=image, profile=profile, label=random.integers(0, 5, ROWS))
    missing = next(name for name in ("hide", "missing") if name in inspect.signature(mmppl.fit).parameters)
    number = 0

    def fit(out: str = "") -> Any:
        nonlocal number
        number += 1
        place = folder / (out or f"fit{number}")
        return mmppl.fit("mvae", epochs=2, seed=0, device="cpu", out=place, **{missing: 0.3})  # type: ignore[arg-type]

    run = cache(lambda: fit("run"))
    return {
        "run": run,
        "read": lambda: mmppl.read(folder / "three.npz"),
        "fit": fit,
        "query": lambda: run().query(rows=slice(0, 5), want="label"),
        "evaluate": lambda: run().evaluate(),
    }


def serve(folder: Path, tree: Path) -> None:
    """Answer the commands "prepare NAME", "count NAME" and "time NAME" on stdin by a line of JSON each.

    NAME is a key of `calls`. What its first call imports or caches is neither counted nor timed.

    Args:
        folder: where runs and data are written.
        tree: the root of the checkout that is measured.
    """
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        import mmppl

        if not Path(mmppl.__file__).resolve().is_relative_to(tree):
            raise SystemExit(f"{tree}: `import mmppl` finds {mmppl.__file__}; give the root of a checkout.")
        known = calls(folder)
        for line in sys.stdin:
            verb, name = line.split()
            found: Any = None
            if verb == "prepare":
                known[name]()
            elif verb == "count":
                found = entries(known[name], tree)
            else:
                repeats = REPEATS.get(name, 1)
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(repeats):
                    known[name]()
                found = [(time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats]
            print(json.dumps(found), file=answer, flush=True)


class Version:
    """One checkout, measured in a process of its own that stays warm.

    Args:
        tree: the root of the checkout.
        folder: where its runs and data are written.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        # nothing may come before the checkout: neither this file's folder nor the current one
        self.environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        arguments = [sys.executable, __file__, "--serve", str(folder), "--tree", str(tree)]
        self.process = subprocess.Popen(
            arguments, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )

    def ask(self, *words: str) -> Any:
        """Send a command to the measuring process and return its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.tree}: the measuring process ended (exit {self.process.wait()}); see above.")
        return json.loads(line)

    def seconds(self, name: str) -> list[float]:
        """Return the seconds of one call: on the clock, and of processor time."""
        if name != COLD:
            found: list[float] = self.ask("time", name)
            return found
        command = [sys.executable, "-m", "mmppl", "query", str(self.folder / "run"), "--rows", "0:1", "--want", "label"]
        wall, cpu = time.perf_counter(), _of_children()
        subprocess.run(command, env=self.environment, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return [time.perf_counter() - wall, _of_children() - cpu]

    def close(self) -> None:
        """End the measuring process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _of_children() -> float:
    import resource  # there is none on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(trees: Sequence[Path], names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Measure checkouts side by side.

    Args:
        trees: the roots of one or two checkouts.
        names: the calls that are measured.
        rounds: the number of rounds of timing.

    Returns:
        {"versions": one per tree, in their order, with its measures; "ratios": of the first over the second}.
    """
    with tempfile.TemporaryDirectory() as folder:
        versions = []
        for i, tree in enumerate(trees):
            place = Path(folder) / str(i)
            place.mkdir()
            versions.append(Version(tree, place))
        try:
            for version in versions:
                for name in names:
                    version.ask("prepare", "run" if name == COLD else name)
            counts = [{n: v.ask("count", n) for n in names if n != COLD} for v in versions]
            taken: dict[str, list[list[list[float]]]] = {name: [[] for _ in versions] for name in names}
            for n in range(rounds):
                for name in names:
                    for i in range(len(versions)):  # the order changes from round to round
                        which = (i + n) % len(versions)
                        taken[name][which].append(versions[which].seconds(name))
        finally:
            for version in versions:
                version.close()
    measures = [{name: _measures(counts[i], taken, name, i) for name in names} for i in range(len(trees))]
    found: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": rounds,
        "versions": [
            {"tree": str(tree), "commit": commit(tree), "measures": of_tree} for tree, of_tree in zip(trees, measures)
        ],
    }
    if len(trees) == 2:
        found["ratios"] = {name: _ratios(counts, taken[name], name) for name in names}
    return found


def _measures(counts: dict[str, int], taken: dict[str, Any], name: str, i: int) -> dict[str, Any]:
    wall, cpu = (statistics.median(times) for times in zip(*taken[name][i]))
    return {"entries": counts.get(name), "seconds": wall, "cpu_seconds": cpu}


def _ratios(counts: list[dict[str, int]], taken: list[list[list[float]]], name: str) -> dict[str, Any]:
    wall, cpu = (statistics.median(ours[i] / theirs[i] for ours, theirs in zip(*taken, strict=True)) for i in range(2))
    entered = counts[0][name] / counts[1][name] if name in counts[0] else None
    return {"entries": entered, "seconds": wall, "cpu_seconds": cpu}


def commit(tree: Path) -> str | None:
    """Return the commit that is checked out in a folder, with "+" where files differ from it; None outside git."""
    try:
        head, changed = (
            subprocess.run(["git", "-C", str(tree), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * bool(changed)


def table(found: dict[str, Any]) -> str:
    """Write the result as a markdown table, with columns for before, after and their ratio where there are two
    versions.
    """
    versions = found["versions"][::-1]  # the version that this one is compared with comes first
    named = [""] if len(versions) == 1 else [" before", " after"]
    head = [""]
    for what in ("file entries", "seconds", "processor seconds"):
        head += [f"{what}{name}" for name in named] + ["ratio"] * (len(versions) == 2)
    rows = [head, ["---"] * len(head)]
    for name in versions[0]["measures"]:
        row = [name]
        for what, form in (("entries", "{:,}"), ("seconds", "{:.4g}"), ("cpu_seconds", "{:.4g}")):
            values = [v["measures"][name][what] for v in versions]
            row += ["" if value is None else form.format(value) for value in values]
            if len(versions) == 2:
                ratio = found["ratios"][name][what]
                row.append("" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, default=HERE, metavar="DIR", help="checkout to measure; default: this one")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout to measure beside it")
    parser.add_argument("--only", metavar="a,b", help=f"of {', '.join((*WARM, COLD))}; default: all")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of timing; default: 5")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.tree.resolve())
        return
    names = options.only.split(",") if options.only else [*WARM, COLD]
    if unknown := set(names) - {*WARM, COLD}:
        parser.error(f"--only: no measure {', '.join(sorted(unknown))}; there are {', '.join((*WARM, COLD))}.")
    trees = [tree.resolve() for tree in (options.tree, options.against) if tree]
    if wrong := [tree for tree in trees if not (tree / "mmppl" / "__init__.py").is_file()]:
        parser.error(f"{wrong[0]}: no mmppl/__init__.py there; give the root of a checkout.")
    if options.rounds < 1:
        parser.error("--rounds: at least 1.")
    found = measure(trees, names, options.rounds)
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    main()
