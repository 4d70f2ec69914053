"""Runs sections of `bench/gpu.sh` in this process: `python -m mmppl.bench.gpu_section FILE NAME... [--dry]`.

FILE is rewritten after every check and every row, so that a section that is stopped or crashes loses nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from pyro import validation_enabled

from mmppl.kernels.codegen.triton_backend import in_short, interpreted
from mmppl.train.cuda_graph import cuda_graph

from .case import Case
from .gpu import UNFINISHED
from .harness import circumstances, figure, interleave

Bound = tuple[float, float]
"""An error, and the largest that is allowed."""


class Report:
    """What a section finds: checks, and rows of the table. Each belongs to a family.

    Args:
        section: name of the section.
        save: writes what has been found so far.
        dry: whether everything runs on the CPU, with tiny shapes.

    Attributes:
        found: {"seconds", "error" (None once the section has ended), "checks", "rows", "notes"}, for JSON.
        device: "cpu" or "cuda".
    """

    def __init__(self, section: str, save: Callable[[], None] = lambda: None, *, dry: bool) -> None:
        self.section, self.dry, self.device = section, dry, "cpu" if dry else "cuda"
        self._save, self._begun = save, time.perf_counter()
        self.found: dict[str, Any] = {"seconds": 0.0, "error": UNFINISHED, "checks": [], "rows": [], "notes": []}

    def save(self) -> None:
        """Write what has been found so far."""
        self.found["seconds"] = time.perf_counter() - self._begun
        self._save()

    def kernels(self) -> AbstractContextManager[Any]:
        """Let Triton's kernels run inside a `with` block: on the GPU or, in a dry run, in Triton's interpreter."""
        return interpreted() if self.dry else nullcontext()

    def check(self, family: str, name: str, shape: str, call: Callable[[], Mapping[str, Any] | Bound]) -> bool:
        """Make a check and note its result. An exception makes it fail, and is noted, too.

        Args:
            family: what the check vouches for: if it fails, no row of the same family is reported.
            name: name of the check.
            shape: shape of the inputs.
            call: returns (error, allowed), or a mapping with "error", "allowed" and whatever else is to be noted.

        Returns:
            Whether it passed: the error is a number and not above what is allowed.
        """
        noted: dict[str, Any] = {"family": family, "name": name, "shape": shape, "passed": False}
        try:
            found = call()
            noted |= dict(zip(("error", "allowed"), found)) if isinstance(found, tuple) else found
            noted["passed"] = bool(noted["error"] <= noted["allowed"])  # NaN fails
        except Exception as error:  # the other checks are still made
            noted["reason"] = in_short(error)
        noted = {key: _for_json(value) for key, value in noted.items()}
        self.found["checks"].append(noted)
        self.save()
        return bool(noted["passed"])

    def row(self, family: str, name: str, shape: str, **numbers: Any) -> None:
        """Note a row of the table.

        Args:
            family: the family; its figures are withheld if one of its checks fails.
            name: name of the row.
            shape: shape of the inputs.
            **numbers: the figures.
        """
        self.found["rows"].append({"family": family, "name": name, "shape": shape, **numbers})
        self.save()

    def note(self, line: str) -> None:
        """Note a line that stands under the table."""
        self.found["notes"].append(line)
        self.save()

    def time(self, family: str, case: Case, **numbers: Any) -> None:
        """Check a case, then time it and its rivals: as they are called and, on a GPU, replayed as CUDA graphs, which
        cost no Python time.

        Args:
            family: the family of the row.
            case: the case.
            **numbers: further figures of the row.
        """
        with case.around():
            if not self.check(family, f"{case.name}, as timed", case.shape, case.error):
                self.row(family, case.name, case.shape)
                return
            candidates = {"ours": case.ours, **case.rivals}
            row = {}

            def timing() -> Bound:
                row["called"] = self.seconds(candidates)
                if not self.dry:
                    row["alone"] = self.seconds(self._captured(case, candidates))
                return 0.0, 0.0

            self.check(family, f"{case.name}, timing", case.shape, timing)
        self.row(family, case.name, case.shape, **row, **numbers)

    def _captured(self, case: Case, candidates: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[], None]]:
        """The candidates that can be captured. A line is noted for each that cannot."""
        found = {}
        with validation_enabled(False):  # validation waits for the GPU
            for name, call in candidates.items():
                try:
                    found[name] = replayed(call)
                except Exception as error:
                    self.note(f"{case.name}, {case.shape}: {name} cannot be captured ({in_short(error)}).")
        return found

    def seconds(self, candidates: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Return the median seconds of each candidate, interleaved."""
        effort: dict[str, Any] = dict(rounds=2, seconds=0.0) if self.dry else dict(rounds=7, seconds=0.05)
        finish = (lambda: None) if self.dry else torch.cuda.synchronize
        times = interleave(candidates, finish=finish, **effort)
        return {name: figure([r.wall for r in taken]).median for name, taken in times.items()}


def _for_json(value: Any) -> Any:
    """None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def replayed(call: Callable[[], object]) -> Callable[[], None]:
    """What `call` launches on the GPU, captured once as a CUDA graph.

    Raises:
        RuntimeError: it cannot be captured.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is compiled or allocated once must not be captured
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    capture: Any = cuda_graph
    replay, results = capture(call)

    def run(kept: object = results) -> None:  # their memory is the graph's, and must not be freed before it
        replay()

    return run


def peaks(dry: bool = False) -> dict[str, float]:
    """Measure the most that this device reaches: bytes per second of a big copy, read and written, and float32
    operations per second of a big matrix product (TF32 off).
    """
    device, number, width = ("cpu", 2**18, 128) if dry else ("cuda", 2**29, 8192)
    source, target = (torch.zeros(number, device=device) for _ in range(2))
    a, b, product = (torch.randn(width, width, device=device) for _ in range(3))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        times = interleave(
            {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(a, b, out=product)},
            rounds=3 if dry else 5,
            seconds=0.0 if dry else 0.05,
            finish=(lambda: None) if dry else torch.cuda.synchronize,
        )
    finally:
        torch.set_float32_matmul_precision(before)
    least = {name: min(r.wall for r in taken) for name, taken in times.items()}
    return {"bandwidth": 2 * 4 * number / least["copy"], "fp32": 2 * width**3 / least["product"]}


def where(dry: bool) -> dict[str, Any]:
    """Return the device, the versions and the peaks."""
    found = circumstances("cpu" if dry else "cuda")
    if not dry:
        properties = torch.cuda.get_device_properties(0)
        found |= {"memory": properties.total_memory, "capability": f"{properties.major}.{properties.minor}"}
        found["versions"]["cuda"] = torch.version.cuda
    return found | {"peaks": peaks(dry)}


def main() -> None:
    from . import gpu_kernels, gpu_steps

    sections: dict[str, Callable[[Report], None]] = {**gpu_kernels.SECTIONS, **gpu_steps.SECTIONS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="+", choices=list(sections))
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"where": None, "sections": {}}

    def save() -> None:
        options.file.write_text(json.dumps(found))

    found["where"] = where(options.dry)
    save()
    for name in options.names:
        report = Report(name, save, dry=options.dry)
        found["sections"][name] = report.found
        try:
            sections[name](report)
            report.found["error"] = None
        except Exception as error:  # the other sections are still run
            report.found["error"] = in_short(error)
        report.save()


if __name__ == "__main__":
    main()
