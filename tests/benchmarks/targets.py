"""The kernels and steps of `mmppl bench` beside what was set out to be reached, with memory and precision.

    python tests/benchmarks/targets.py [--rounds 9] [--only GROUP] [--json [FILE]]

One thread unless a row says two. Ratios are medians over interleaved rounds; `limit` is ours over the least that the
machine must do. No row is printed whose correctness check fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmppl.bench import pairs, product, step
from mmppl.bench.case import Case, Row, measure
from mmppl.bench.harness import circumstances, peak_memory
from mmppl.bench.steps import mopoe, mwvae, vcca
from mmppl.kernels.mmd import mmd2, rbf

RESULTS = Path(__file__).parent / "results" / "targets.json"


@dataclass
class Target:
    """A figure and what it must be: at least `must` (at most, where `below`), in its unit; None: reported only."""

    name: str
    value: float
    must: float | None
    aim: float | None = None
    unit: str = "×"
    below: bool = False
    limit: float | None = None
    spread: float | None = None

    @property
    def reached(self) -> str:
        def meets(bound: float) -> bool:
            return self.value <= bound if self.below else self.value >= bound

        if self.must is None:
            return ""
        return "aim" if self.aim is not None and meets(self.aim) else "yes" if meets(self.must) else "NO"


Bounds = tuple[float | None, float | None]


def over_ours(row: Row, bounds: Bounds) -> Target:
    """The rival's time over ours."""
    name = f"{row.name}, {row.shape}: {row.over} over ours"
    return Target(name, row.ratio, *bounds, limit=row.limit_ratio, spread=row.spread)


def ours_over(row: Row, bounds: Bounds) -> Target:
    """Our time over the rival's."""
    name = f"{row.name}, {row.shape}: ours over {row.over}"
    return Target(name, 1 / row.ratio, *bounds, below=True, limit=row.limit_ratio, spread=row.spread)


def timed(case: Case, rounds: int) -> dict[str, Row]:
    """Rows by rival."""
    return {row.over: row for row in measure(case, rounds=rounds)}


def megabytes(name: str, call: Callable[[], object], must: float | None) -> Target:
    return Target(name, peak_memory(call) / 1e6, must, unit="MB", below=True)


def kernels(rounds: int) -> Iterator[Target]:
    for shape, bounds in zip(product.SHAPES, ((2.0, 3.0), (3.5, 5.0), (15.0, 25.0))):
        case = product.case(shape)
        yield over_ours(timed(case, rounds)["eager broadcast"], bounds)
    _, subsets, rows, width = product.SHAPES[-1]
    draws = 4e-6 * subsets * rows * width
    yield Target("its peak memory beyond the draws", peak_memory(case.ours) / 1e6 - draws, draws, unit="MB", below=True)
    case = pairs.case(2048, 20, 5)
    yield over_ours(timed(case, rounds)["torch.cdist"], (4.5, 6.0))
    yield megabytes("its peak memory", case.ours, 8.0)
    yield Target("MMD² gradient, data shifted by 10, error to float64", pairs.gradient_error(1024, 10.0), 5e-7,
                 unit="", below=True)  # fmt: skip
    torch.set_num_threads(2)
    case = pairs.case(16384, 20, 1, {"addmm": pairs.addmm})
    yield over_ours(timed(case, rounds)["addmm"], (5.5, 8.0))
    x, y = pairs.samples(65536, 20)
    yield megabytes(
        "MMD² with gradients at N=65536, peak memory",
        lambda: torch.autograd.grad(mmd2(x, y, rbf(20.0)), [x, y]),
        1000.0,
    )
    torch.set_num_threads(1)


def steps(rounds: int) -> Iterator[Target]:
    bounds: dict[str, tuple[Bounds, Bounds, Bounds]] = {
        "fp32": ((3.0, 3.5), (1.30, 1.15), (1.05, 1.00)),
        "bf16": ((4.5, 5.5), (None, None), (None, None)),
    }
    for precision, (of_idiomatic, of_floor, of_plain) in bounds.items():
        rows = timed(step.case(256, precision), rounds)
        idiomatic, floor = rows["idiomatic Pyro"], rows["idiomatic Pyro"].limit_ratio
        assert floor is not None
        yield over_ours(idiomatic, of_idiomatic)
        yield Target("that of a step that did nothing but its matrix products", idiomatic.ratio * floor, None)
        yield Target("ours over the matrix products", floor, *of_floor, below=True)
        yield ours_over(rows["hand-written PyTorch"], of_plain)
    for rate in (0.3, 0.6):
        yield over_ours(timed(step.with_holes(rate), rounds)["decoding everything"], (None, None))
    plain = timed(step.case(4), 3 * rounds)["hand-written PyTorch"]
    name = "MVAE step, batch=4: ours minus hand-written PyTorch"
    yield Target(name, plain.ms * (1 - plain.ratio), 1.0, unit="ms", below=True, spread=plain.spread)


def subsets(rounds: int) -> Iterator[Target]:
    case = mopoe.case()
    yield ours_over(timed(case, rounds)["hand-written PyTorch"], (1.0, 0.8))
    yield megabytes("its peak memory", case.ours, 600.0)


def alignment(rounds: int) -> Iterator[Target]:
    for name in ("mwvae", "fmwvae"):
        yield ours_over(timed(mwvae.case(name), rounds)["hand-written PyTorch"], (1.05, 1.00))


def views(rounds: int) -> Iterator[Target]:
    for private in (0, vcca.PRIVATE):
        yield ours_over(timed(vcca.case(private), rounds)["hand-written PyTorch"], (1.10, 1.00))


GROUPS = {"kernels": kernels, "steps": steps, "subsets": subsets, "alignment": alignment, "views": views}


def in_words(target: dict[str, Any]) -> str:
    limit = "" if target["limit"] is None else f", {target['limit']:.3g} × the limit"
    spread = "" if target["spread"] is None else f", spread {target['spread']:.0%}"
    sign = "≤" if target["below"] else "≥"
    bound = f" (must {sign} {target['must']:.3g}{limit}{spread}): {target['reached']}" if target["must"] else ""
    return f"{target['name']}: {target['value']:.3g} {target['unit']}{bound}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=GROUPS, help="one group, in this process, as JSON lines")
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        for target in GROUPS[options.only](options.rounds):
            print(json.dumps(asdict(target) | {"reached": target.reached}), flush=True)
        return
    found = []
    for group in GROUPS:  # each in a fresh process: what one leaves in the allocator changes the times of the next
        command = [sys.executable, __file__, "--only", group, "--rounds", str(options.rounds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                found.append(json.loads(line))
                print(in_words(found[-1]), flush=True)
        if child.returncode:
            sys.exit(child.returncode)
    if options.json:
        options.json.write_text(json.dumps({**circumstances(), "targets": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
