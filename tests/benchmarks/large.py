"""A Parquet file larger than one likes to hold in memory: the memory and the throughput of a fit and of its answers.

    python tests/benchmarks/large.py FOLDER [--rows 200000] [--compare 50000] [--rounds 3] [--json [FILE]]

Writes `FOLDER/large-ROWS.parquet`, rows of three modalities of 1,000, 200 and 20 columns, of which 30 % are missing, by
row groups, and then, in a process of its own for each figure: an epoch of `mvae` with small networks, and the answers
about all rows as Parquet, with the data kept on disk. It prints the largest resident memory (of the process, and as
sampled), and checks that every row is answered once, in the order of the file. The throughput of an epoch and of the
answers is compared with that of data kept in memory, at a size where they fit, the two taking turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

WIDTHS = {"rna": 1000, "protein": 200, "clinical": 20}
MISSING, LATENT, GROUP = 0.3, 8, 5_000
HYPER = {"hidden": 64, "layers": 1, "latent_dim": LATENT}
MEMORY, SHARE = 2e9, 0.8  # the targets: bytes, and of the throughput in memory


def write(path: Path, rows: int) -> None:
    """Write the file, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    loadings = {name: rng.normal(size=(LATENT, width)).astype(np.float32) for name, width in WIDTHS.items()}
    writer = None
    for start in range(0, rows, GROUP):
        n = min(GROUP, rows - start)
        z = rng.normal(size=(n, LATENT)).astype(np.float32)
        columns: dict[str, Any] = {"id": pa.array(np.arange(start, start + n) * 7 + 3)}
        for name, weights in loadings.items():
            values = z @ weights + rng.normal(size=(n, len(weights.T))).astype(np.float32)
            gone = rng.random(n) < MISSING
            columns |= {f"{name}:{name}{i}": pa.array(values[:, i], mask=gone) for i in range(len(weights.T))}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=False, compression="none")
        writer.write_table(table)
    if writer is not None:
        writer.close()


class Resident(threading.Thread):
    """Samples the resident memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.anonymous = 0, 0

    def so_far(self) -> tuple[int, int]:
        """The most since the last time, and how much of it was no file; then it begins anew."""
        found = self.most, self.anonymous
        self.most = self.anonymous = 0
        return found

    def run(self) -> None:
        while True:
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            found = [1024 * int(lines[name].split()[0]) for name in ("VmRSS", "RssAnon")]
            self.most, self.anonymous = max(self.most, found[0]), max(self.anonymous, found[1])
            time.sleep(0.05)


def measured(path: Path, store: str, answers: bool) -> dict[str, Any]:
    """Fit an epoch and answer all rows, in this process."""
    import torch

    import mmppl

    resident = Resident()
    resident.start()
    time.sleep(0.2)
    peaks = {"import": resident.so_far()}
    os.environ["MMPPL_STORE"] = store
    started = time.monotonic()
    data = mmppl.read(path)
    times = {"read": time.monotonic() - started}
    peaks["read"] = resident.so_far()
    started = time.monotonic()
    run = mmppl.fit(
        "mvae", data, hyper=HYPER, epochs=1, batch_size=128, threads=1, refit=False, calibrate=False,
    )  # fmt: skip
    times["fit"] = time.monotonic() - started
    peaks["fit"] = resident.so_far()
    found: dict[str, Any] = {"epoch_seconds": run.metrics[0]["seconds"], "rows": len(data)}
    started = time.monotonic()
    if answers:
        out = path.with_name(f"answers-{os.getpid()}.parquet")
        blocks = run.query_blocks(data, want=[*WIDTHS, "z"], split="all", draws=4, quantiles=())
        mmppl.write_blocks(out, blocks)
        found["answers"] = check(out, data.ids)
        out.unlink()
    else:
        first = torch.arange(min(len(data), 10_000))
        how: dict[str, Any] = dict(want=[*WIDTHS, "z"], split="all", draws=4, quantiles=())
        sum(answer.n for answer in run.query_blocks(data.take(first), **how))
    times["answers"] = time.monotonic() - started
    peaks["answers"] = resident.so_far()
    found["seconds"] = times
    found["weights"] = float(sum(p.detach().double().abs().sum() for p in run.program.parameters()))
    return found | {
        "max_rss": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "sampled": {phase: {"resident": most, "anonymous": of} for phase, (most, of) in peaks.items()},
    }


def check(path: Path, ids: np.ndarray) -> dict[str, int]:
    """Compare the ids of a file of answers with those of the rows."""
    import pyarrow.parquet as pq

    written = pq.read_table(path, columns=["id"])["id"].to_numpy()
    return {
        "rows": len(written),
        "lost": len(np.setdiff1d(ids, written)),
        "repeated": len(written) - len(np.unique(written)),
        "out_of_order": int((written != ids).sum()) if len(written) == len(ids) else -1,
        "bytes": path.stat().st_size,
    }


def alone(path: Path, store: str, answers: bool) -> dict[str, Any]:
    """The same in a process of its own."""
    words = [sys.executable, __file__, str(path), "--measure", store, *(["--answers"] if answers else [])]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--compare", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--answers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.folder, given.measure, given.answers)))
        return
    found: dict[str, Any] = {}
    if given.rows:
        path = given.folder / f"large-{given.rows}.parquet"
        write(path, given.rows)
        found["large"] = alone(path, "disk", True) | {"file_bytes": path.stat().st_size}
        path.unlink()
    if given.compare:
        path = given.folder / f"large-{given.compare}.parquet"
        write(path, given.compare)
        rounds = [{store: alone(path, store, False) for store in ("disk", "memory")} for _ in range(given.rounds)]
        path.unlink()
        found["compare"] = {
            what: median(of["memory"][what] / of["disk"][what] for of in rounds) for what in ("epoch_seconds",)
        }
        found["compare"] |= {
            what: median(of["memory"]["seconds"][what] / of["disk"]["seconds"][what] for of in rounds)
            for what in ("fit", "answers")
        }
        found["same_weights"] = len({of[store]["weights"] for of in rounds for store in of}) == 1
        found["rounds"] = rounds
    text = json.dumps(found, indent=1)
    if given.json and given.json != "-":
        Path(given.json).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
