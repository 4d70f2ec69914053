"""The programs that measure a whole version: its file entries and seconds (`bench/entries.py`), and a GPU's
(`bench/gpu.sh`)."""

import copy
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmppl.bench import entries, gpu
from mmppl.bench.gpu_check import Check, worst
from mmppl.bench.gpu_kernels import pair_checks
from mmppl.bench.gpu_section import Report

ROOT = Path(__file__).parents[2]


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_file_entries_are_calls_from_another_file(tmp_path):
    """Per round f enters b once, and b's callback enters a again; calls within a file do not count."""
    (tmp_path / "mmppl").mkdir()
    sources = {
        "a": "def back(x):\n    return own(x)\ndef own(x):\n    return x\ndef f(b, n):\n"
        "    for i in range(n):\n        b.g(back)\n        own(i)\n",
        "b": "def g(back):\n    return h(back)\ndef h(back):\n    return back(1)\n",
    }
    modules = {}
    for name, source in sources.items():
        file = tmp_path / "mmppl" / f"{name}.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location(f"entries_{name}", file)
        modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    call = lambda: modules["a"].f(modules["b"], 3)  # noqa: E731
    assert entries.entries(call, tmp_path) == 1 + 3 * 2
    assert entries.entries(call, tmp_path / "other") == 0


STUB = {
    "__init__": "from .reading import read\ndef fit(program, *, missing=0.0, **more):\n    return None\n",
    "reading": "from .rows import rows\ndef read(file):\n    return [rows(i) for i in range(3)]\n",
    "rows": "def rows(i):\n    return i\n",
}


@pytest.mark.slow
def test_two_versions_are_measured_side_by_side(tmp_path):
    """This one, and a checkout whose `read` enters a file, from which another one is entered three times."""
    (tmp_path / "mmppl").mkdir()
    for name, source in STUB.items():
        (tmp_path / "mmppl" / f"{name}.py").write_text(source)
    program = [sys.executable, str(ROOT / "bench" / "entries.py")]
    found = json.loads(run(*program, "--only", "read", "--rounds", "1", "--against", str(tmp_path), "--json"))
    one, other = (version["measures"]["read"] for version in found["versions"])
    assert one["entries"] > 10 and other["entries"] == 1 + 3
    assert found["ratios"]["read"]["entries"] == one["entries"] / 4
    assert min(one["seconds"], other["seconds"], found["ratios"]["read"]["seconds"]) > 0
    text = entries.table(found)
    assert text.splitlines()[0].startswith("|  | file entries before | file entries after | ratio | seconds before")
    assert text.splitlines()[2].startswith(f"| read | 4 | {one['entries']} | {one['entries'] / 4:.2f} |")


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    command = [sys.executable, str(ROOT / "bench" / "entries.py"), "--tree", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "give the root of a checkout" in done.stderr


def dried(folder, *words):
    """The result of a dry run, and what it printed."""
    file = folder / "found.json"
    words = ("--dry", "--out", str(file), *words)
    text = run(str(ROOT / "bench" / "gpu.sh"), *words, PYTHON=sys.executable, MMPPL_WHEELS="none")
    return json.loads(file.read_text()), text


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """A dry run of kernels and of a fit."""
    return dried(tmp_path_factory.mktemp("gpu"), "--only", "pairs,fit")


def check_dry_run(found, text, names):
    assert found["passed"] and found["dry"] and list(found["sections"]) == names
    assert all(section["error"] is None and section["checks"] for section in found["sections"].values())
    assert all(row["called"]["ours"] > 0 for section in found["sections"].values() for row in section["rows"])
    assert {"torch", "triton", "pyro-ppl"} <= set(found["where"]["versions"]) and found["where"]["device"]
    assert "Dry run: the times mean nothing." in text and gpu.table(found) == text.rstrip("\n")


def test_a_dry_run_goes_through_the_sections_that_are_named(dry):
    check_dry_run(*dry, ["pairs", "fit"])
    assert "\n| MMD²" in dry[1] and "\n| fit of mvae" in dry[1]
    command = [sys.executable, str(ROOT / "bench" / "gpu.py"), "--dry", "--only", "pairs,fits"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--only: no section fits; there are product, pairs" in done.stderr


@pytest.mark.slow
def test_a_dry_run_goes_through_all_sections(tmp_path):
    found, text = dried(tmp_path)
    check_dry_run(found, text, [*gpu.SHARES, "tests"])
    for row in ("product of experts, sample+KL", "KL of all subsets (MoPoE)", "MMD²", "Laplace", "Categorical"):
        assert f"\n| {row}" in text
    for row in ("MVAE step", "MoPoE step", "fit of mvae"):
        assert f"\n| {row}" in text


def test_the_table_is_made_of_the_file(dry, tmp_path):
    file = tmp_path / "found.json"
    file.write_text(json.dumps(dry[0]))
    assert run(sys.executable, str(ROOT / "bench" / "gpu.py"), "--table", str(file)) == dry[1]


def test_no_speed_is_reported_for_wrong_results(dry):
    found = copy.deepcopy(dry[0])
    check = found["sections"]["pairs"]["checks"][0]
    check |= {"passed": False, "error": None}
    gpu.withhold(found)
    lines = gpu.table(found).splitlines()
    (row,) = (line for line in lines if line.startswith("| MMD²"))
    assert row.count("failed") == 7
    assert any(re.match(r"\| pair sums \| \d+ of \d+: \*\*failed\*\* ", line) for line in lines)
    assert any(line.startswith(f"- failed: pair sums, {check['name']}") for line in lines)
    (row,) = (line for line in lines if line.startswith("| fit of mvae"))
    assert "failed" not in row


def test_the_share_of_the_limit_is_of_the_slower_one():
    row = {"family": "f", "name": "n", "shape": "s", "called": {"ours": 2.0, "eager": 3.0}, "bytes": 100, "flops": 30}
    row["alone"] = {"ours": 1.0, "eager": 4.0}
    _, cells = gpu._kernel_rows([row], {"bandwidth": 200.0, "fp32": 100.0})
    assert cells == ["n", "s", "1e+03", "4 × (eager)", "1e-07", "0", "50% (memory)", "2e+03", "1.5 × (eager)"]
    _, cells = gpu._kernel_rows([row | {"flops": 80}], {"bandwidth": 200.0, "fp32": 100.0})
    assert cells[6] == "80% (arithmetic)"


def test_a_section_that_is_stopped_or_crashes_reports_it(tmp_path, monkeypatch):
    """A stand-in for Python, as torch takes seconds to begin."""
    python = tmp_path / "python"
    python.touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    for does, limit, error in (
        ("sleep 60", 0.0, "stopped after 0 s"),
        ("echo broken >&2; exit 3", 60.0, "exit 3: broken"),
    ):
        python.write_text(f"#!/bin/sh\n{does}\n")
        (found,) = gpu.sections(["product"], limit, True)["sections"].values()
        assert found["error"] == error and found["checks"] == []


def test_outcomes_are_counted_with_and_without_workers():
    lines = [
        "tests/kernels/test_a.py::test_one[x y] PASSED                           [ 25%]",
        "tests/kernels/test_a.py::test_two FAILED                                [ 50%]",
        "[gw1] [ 75%] PASSED tests/kernels/test_a.py::test_three ",
        "[gw0] [100%] SKIPPED tests/kernels/test_a.py::test_four ",
        "tests/kernels/test_b.py::test_two FAILED                                [100%]",
        "FAILED tests/kernels/test_a.py::test_two - assert 1 == 2",
    ]
    found = gpu._outcomes(lines, "tests/kernels/test_a.py")
    assert found == {"ran": 2, "failed": 1, "skipped": 1, "reason": "test_two - assert 1 == 2"}
    assert gpu._outcomes(lines, "")["ran"] == 0


def test_every_file_of_tests_is_there():
    assert all(gpu._tests_called(names) for names in gpu.TESTS.values())


def test_a_kernel_may_be_twice_as_far_off_as_eager():
    exact = torch.tensor([1.0, -2.0], dtype=torch.float64)
    eager = (exact + 1e-3).float()
    for error, passes in ((1.9e-3, True), (2.1e-3, False), (math.nan, False), (math.inf, False)):
        found = worst([(exact + error).float(), exact.float()], [eager, eager], [exact, exact])
        assert (found["error"] <= found["allowed"]) == passes
        assert found["eager_error"] == pytest.approx(1e-3, rel=1e-3)
    assert math.isnan(worst([exact.float()[:1]], [eager], [exact])["error"])


def test_a_wrong_kernel_and_an_exception_fail_their_checks():
    report = Report("pairs", dry=True)
    good = pair_checks(dry=True)[0]
    wrong: Check = good._replace(ours=lambda *tensors: 1.001 * good.eager(*tensors))
    assert report.check("f", "good", "", lambda: good.against_float64("cpu"))
    assert not report.check("f", "wrong", "", lambda: wrong.against_float64("cpu"))
    assert not report.check("f", "raises", "", lambda: (1 / 0, 1.0))
    assert not report.check("f", "no number", "", lambda: (math.nan, 1.0))
    noted = report.found["checks"]
    assert noted[1]["error"] > noted[1]["allowed"] and noted[2]["reason"] == "ZeroDivisionError: division by zero"
    assert noted[3]["error"] is None and json.dumps(noted, allow_nan=False)
