"""Run programs of this folder, and print one JSON object per program.

    python -m mmppl.bench.endurance --quick           # all of them, in about a minute and a half
    python -m mmppl.bench.endurance kills threads     # two of them, whole

Exit code 1 if anything went wrong; the object then lists it under "failures".
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from ..harness import circumstances
from .trial import Trial

ASIDE = ("__init__", "__main__", "trial", "hostile_cases")
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ASIDE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mmppl.bench.endurance", description="Run programs of this folder.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, for continuous integration")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default: 0")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no program {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    failed = False
    for name in options.names or NAMES:
        module = importlib.import_module(f".{name}", __package__)
        began = time.monotonic()
        with redirect_stdout(sys.stderr):
            trial: Trial = module.run(quick=options.quick, seed=options.seed)
        found = {
            "program": name,
            "quick": options.quick,
            "seed": options.seed,
            "seconds": round(time.monotonic() - began, 1),
            "figures": trial.figures,
            "failures": trial.failures,
            **circumstances(),
        }
        print(json.dumps(found), flush=True)
        failed = failed or bool(trial.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
