"""Run programs of this folder, and print one JSON object per program.

    python -m mmppl.bench.endurance --quick           # all of them, in about a minute and a half
    python -m mmppl.bench.endurance kills threads     # two of them, whole

Exit code 1 if anything went wrong; the object then lists it under "failures".
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from ..harness import circumstances
from .trial import Trial

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if "\ndef run(" in p.read_text("utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mmppl.bench.endurance", description="Run programs of this folder.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, for continuous integration")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default: 0")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no program {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    failed = False
    with tempfile.TemporaryDirectory(prefix="mmppl-state-") as folder:  # the user's list is of the user's own runs
        os.environ["MMPPL_STATE"] = folder
        for name in options.names or NAMES:
            failed = played(name, options.quick, options.seed) or failed
    return int(failed)


def played(name: str, quick: bool, seed: int) -> bool:
    """Run one program, print its object, and return whether anything went wrong."""
    module = importlib.import_module(f".{name}", __package__)
    began = time.monotonic()
    with redirect_stdout(sys.stderr):
        trial: Trial = module.run(quick=quick, seed=seed)
    found = {
        "program": name,
        "quick": quick,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "figures": trial.figures,
        "failures": trial.failures,
        **circumstances(),
    }
    print(json.dumps(found), flush=True)
    return bool(trial.failures)


if __name__ == "__main__":
    sys.exit(main())
