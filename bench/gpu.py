"""Checks and times the kernels, the captured step and a fit on one GPU; see `bench/gpu.sh`, which starts it.

    python bench/gpu.py --out gpu.json     # all sections, in at most 6 minutes, then the table
    python bench/gpu.py --only pairs,step  # some of the sections
    python bench/gpu.py --dry              # on the CPU, tiny shapes: tells only whether the program works
    python bench/gpu.py --table gpu.json   # the table of a result, in markdown

Every section runs in a process of its own, since an illegal access spoils the GPU for the process that made it, and is
stopped after its share of the time. No speed is reported for a kernel or step of which any check failed. The exit
status is 1 if a check failed or a section did not end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 345.0  # for everything
SHARES = {"product": 75.0, "pairs": 75.0, "likelihood": 50.0, "step": 70.0, "fit": 40.0}  # most that each may take
SECTIONS = (*SHARES, "tests")
WORKERS = 12  # most processes for the tests
TESTS = {  # family → names that the file of its tests may have
    "product of experts": ("test_poe_triton.py",),
    "pair sums": ("test_pairwise_triton.py",),
    "likelihoods": ("test_likelihood_triton.py",),
    "categories": ("test_categorical_triton.py",),
    "choice of Triton": ("test_launch.py", "test_triton_backend.py"),
    "captured step": ("test_capture.py", "test_cuda_graph.py"),
}
UNFINISHED = "not finished"  # the error of a section until it ends
OUTCOME = re.compile(r"\b(PASSED|FAILED|ERROR|SKIPPED)\b")
Found = dict[str, Any]


def measure(
    dry: bool, save: Callable[[Found], object], seconds: float = SECONDS, only: Sequence[str] = SECTIONS
) -> Found:
    """Run the sections.

    Args:
        dry: whether it runs on the CPU, with tiny shapes, in one process.
        save: receives what has been found whenever a section has ended.
        seconds: time for all of it.
        only: names of those that are run, of `SECTIONS`.

    Returns:
        {"where": device, versions and peaks, "dry", "seconds", "passed", "sections": name → what was found}.
    """
    begun = time.monotonic()
    found: Found = {"where": None, "dry": dry, "seconds": 0.0, "passed": False, "sections": {}}
    measured = [name for name in SHARES if name in only]
    for names in [measured] if dry and measured else [[name] for name in measured]:
        left = seconds - (time.monotonic() - begun)
        part = sections(names, left if dry else min(SHARES[names[0]], left), dry)
        found["where"] = found["where"] or part["where"]
        for name, section in part["sections"].items():
            _keep(found, name, section, begun, save)
    if "tests" in only:
        left = seconds - (time.monotonic() - begun)
        usable = found["where"] or not measured
        section = tests(left, dry) if usable else _nothing("not run: no section could use a GPU")
        _keep(found, "tests", section, begun, save)
    every = found["sections"].values()
    found["passed"] = not any(s["error"] or any(not check["passed"] for check in s["checks"]) for s in every)
    save(found)
    return found


def _keep(found: Found, name: str, section: Found, begun: float, save: Callable[[Found], object]) -> None:
    """Add a section that has ended, save, and print a line: this program may be stopped at any time."""
    found["sections"][name], found["seconds"] = section, time.monotonic() - begun
    withhold(found)
    save(found)
    failed = sum(not check["passed"] for check in section["checks"])
    ending = f"; {section['error']}" if section["error"] else ""
    line = f"{name}: {len(section['checks'])} checks, {failed} failed{ending} ({section['seconds']:.0f} s)"
    print(line, file=sys.stderr, flush=True)


def sections(names: Sequence[str], limit: float, dry: bool) -> Found:
    """Run some sections in one process. If it is stopped or crashes, what it has found by then is kept.

    Args:
        names: names of the sections.
        limit: seconds after which the process is stopped.
        dry: whether it runs on the CPU, with tiny shapes.

    Returns:
        {"where", "sections": name → what was found}.
    """
    environment = _environment() | ({"TRITON_INTERPRET": "1"} if dry else {})
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "found.json", Path(folder) / "log"
        command = [sys.executable, "-m", "mmppl.bench.gpu_section", str(file), *names, *(["--dry"] if dry else [])]
        code, _ = _run(command, limit, environment, log)
        found: Found = json.loads(file.read_text()) if file.exists() else {"where": None, "sections": {}}
        last = (log.read_text().strip().splitlines() or ["no output"])[-1][:200]
    ended = f"stopped after {limit:.0f} s" if code is None else f"exit {code}: {last}"
    for name in names:
        section = found["sections"].setdefault(name, _nothing())
        if section["error"] == UNFINISHED:
            section["error"] = ended
    return found


def _nothing(error: str | None = UNFINISHED) -> Found:
    return {"seconds": 0.0, "error": error, "checks": [], "rows": [], "notes": []}


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _run(command: Sequence[str], limit: float, environment: Mapping[str, str], log: Path) -> tuple[int | None, float]:
    """Exit status (None if the command had to be stopped) and seconds. The output goes to a file."""
    begun = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(max(limit, 1.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its own workers
            process.wait()
            code = None
    return code, time.monotonic() - begun


def tests(limit: float, dry: bool) -> Found:
    """Run the tests of the kernels and of the captured step on the GPU.

    Args:
        limit: seconds after which they are stopped.
        dry: whether they run on the CPU.

    Returns:
        A section with one check for each file of tests.
    """
    found = _nothing(None)
    named = {family: _tests_called(names) for family, names in TESTS.items() if not dry or family == "choice of Triton"}
    workers = min(WORKERS, os.cpu_count() or 1) if importlib.util.find_spec("xdist") and not dry else 0
    command = [sys.executable, "-m", "pytest", "-v", "-rfE", "--tb=line", "-p", "no:cacheprovider", "--maxfail=100"]
    # Not those of pyproject.toml, which ask for pytest-xdist, and here for as many processes as there are cores.
    command += ["-o", "addopts=--import-mode=importlib --strict-markers -m 'not slow'"]
    command += ["-n", str(workers)] * bool(workers) + [file for file in named.values() if file]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        code, found["seconds"] = _run(command, limit, _environment(), log)
        lines = log.read_text().splitlines()
    if code is None:
        found["error"] = f"stopped after {limit:.0f} s"
    elif code not in (0, 1):
        found["error"] = f"pytest: exit {code}: {(lines or ['no output'])[-1][:200]}"
    for family, file in named.items():
        check = _outcomes(lines, file)
        if check["failed"] or code is not None:  # when tests were stopped, only failures are known
            passed = not check["failed"] and check["ran"] > 0
            reason = check["reason"] or ("" if check["ran"] else f"no test of {' or '.join(TESTS[family])} ran")
            shape = f"{check['ran']} passed, {check['failed']} failed, {check['skipped']} skipped"
            noted = {"family": family, "name": "tests", "shape": shape, "passed": passed, "reason": reason}
            found["checks"].append(noted)
    return found


def _tests_called(names: Sequence[str]) -> str:
    """The path of the first test file that has one of these names; "" where there is none."""
    found = [file for name in names for file in sorted((ROOT / "tests").rglob(name))]
    return str(found[0].relative_to(ROOT)) if found else ""


def _outcomes(lines: Sequence[str], file: str) -> Found:
    """How many tests of a file passed, failed and were skipped, from the lines of `pytest -v -rfE`, with xdist or
    without.
    """
    counts = {"PASSED": 0, "FAILED": 0, "ERROR": 0, "SKIPPED": 0}
    reasons = []
    for line in lines if file else []:
        outcome = OUTCOME.search(line)
        if f"{file}::" not in line or not outcome:
            continue
        if line.startswith(("FAILED", "ERROR")):  # lines of the summary, which give reasons and are not counted again
            reasons.append(line.partition("::")[2][:200])
        else:
            counts[outcome.group()] += 1
    failed = counts["FAILED"] + counts["ERROR"]
    return {"ran": counts["PASSED"], "failed": failed, "skipped": counts["SKIPPED"], "reason": "; ".join(reasons[:5])}


def withhold(found: Found) -> None:
    """Take the figures out of the rows of every family of which a check failed."""
    every = list(found["sections"].values())
    failed = {check["family"] for section in every for check in section["checks"] if not check["passed"]}
    for section in every:
        for row in section["rows"]:
            if row["family"] in failed:
                for figure in ("called", "alone"):
                    row.pop(figure, None)


def table(found: Found) -> str:
    """Write the result in markdown, for RESULTS.md."""
    rows = [row for section in found["sections"].values() for row in section["rows"]]
    kernels, others = [r for r in rows if "bytes" in r or "flops" in r], [r for r in rows if "bytes" not in r]
    parts = [_circumstances(found)]
    if kernels:
        parts.append(_markdown(_kernel_rows(kernels, (found["where"] or {}).get("peaks"))))
    if others:
        parts.append(_markdown(_step_rows(others)))
    parts.append(_markdown(_check_rows(found)))
    parts += ["\n".join(lines)] if (lines := list(_remarks(found))) else []
    return "\n\n".join(parts)


def _circumstances(found: Found) -> str:
    where = found["where"]
    if where is None:
        return "No section began."
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    peak = f"a big copy moves {where['peaks']['bandwidth'] / 1e9:,.0f} GB/s (read and written), a big float32 product"
    peak += f" computes {where['peaks']['fp32'] / 1e12:.3g} TFLOP/s"
    dry = " Dry run: the times mean nothing." if found["dry"] else ""
    return f"{where['device']}; {versions}; {peak}; {found['seconds']:.0f} s in all.{dry}"


def _kernel_rows(rows: Sequence[Found], peaks: Mapping[str, float] | None) -> Iterator[list[str]]:
    yield ["kernel", "shape", "on the GPU alone, ms", "eager over ours", "GB moved", "GB/s", "share of the limit",
           "from Python, ms", "eager over ours"]  # fmt: skip
    for row in rows:
        head = [row["name"], row["shape"]]
        if "called" not in row:
            yield [*head, *["failed"] * 7]
            continue
        alone, called = row.get("alone") or {}, row["called"]
        moved, ours = row.get("bytes", 0), alone.get("ours")
        share = "-"
        if ours and peaks:
            by_memory, by_work = moved / peaks["bandwidth"], row.get("flops", 0) / peaks["fp32"]
            share = f"{max(by_memory, by_work) / ours:.0%} ({'memory' if by_memory >= by_work else 'arithmetic'})"
        flow = [f"{moved / 1e9:.3g}", f"{moved / ours / 1e9:,.0f}" if ours else "-", share]
        yield [*head, _ms(ours), _ratios(alone), *flow, _ms(called["ours"]), _ratios(called)]


def _step_rows(rows: Sequence[Found]) -> Iterator[list[str]]:
    yield ["step or fit", "shape", "ms", "time of the others over ours"]
    for row in rows:
        figures = [_ms(row["called"]["ours"]), _ratios(row["called"])] if "called" in row else ["failed"] * 2
        yield [row["name"], row["shape"], *figures]


def _check_rows(found: Found) -> Iterator[list[str]]:
    yield ["checks", "passed", "largest error over what is allowed", "over eager's error, which may be nearly nil"]
    checks: dict[str, list[Found]] = {}
    for section in found["sections"].values():
        for check in section["checks"]:
            checks.setdefault(check["family"], []).append(check)
    for family, some in checks.items():
        passed = sum(check["passed"] for check in some)
        worst = [_largest(some, below) for below in ("allowed", "eager_error")]
        yield [family, f"{passed} of {len(some)}" + ("" if passed == len(some) else ": **failed**"), *worst]


def _largest(checks: Sequence[Found], below: str) -> str:
    ratios = [check["error"] / check[below] for check in checks if check.get(below) and check.get("error") is not None]
    return f"{max(ratios):.2g}" if ratios else "-"


def _remarks(found: Found) -> Iterator[str]:
    for name, section in found["sections"].items():
        if section["error"]:
            yield f"- {name}: {section['error']}"
        for check in section["checks"]:
            if not check["passed"]:
                why = check.get("reason") or f"error {check.get('error')}, allowed {check.get('allowed')}"
                yield f"- failed: {check['family']}, {check['name']}, {check['shape']}: {why}"
        yield from (f"- {name}: {note}" for note in section["notes"])


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3g}"


def _ratios(seconds: Mapping[str, float]) -> str:
    """The time of each other candidate over ours."""
    ours, others = seconds.get("ours"), {name: value for name, value in seconds.items() if name != "ours"}
    return ", ".join(f"{value / ours:.3g} × ({name})" for name, value in others.items()) if ours and others else "-"


def _markdown(rows: Iterator[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="on the CPU, tiny shapes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result goes, in JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of a result, and do nothing else")
    parser.add_argument("--only", metavar="A,B", default=",".join(SECTIONS), help="sections; default: %(default)s")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return 0
    only = options.only.split(",")
    if unknown := set(only) - {*SECTIONS}:
        parser.error(f"--only: no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}.")
    found = measure(options.dry, lambda found: options.out and options.out.write_text(json.dumps(found)), only=only)
    print(table(found))
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
