"""Joint evidence, ln p(x) by 1,000 importance draws per row, of our MVAE beside the peer's, MultiVae 1.0.3 (optional:
`pip install multivae==1.0.3 -c constraints.txt`), and beside our matrix products alone.

    python tests/benchmarks/evidence.py [--rows 16] [--draws 1000] [--rounds 7] [--json [FILE]]

784 Bernoulli, 3,072 Laplace and 8 × 71 categorical features, one hidden layer of 400, latent 20, the same networks. Two
columns: the peer with the matrix products that `mmppl query` takes, and the peer as it comes. Ours has also standard
errors, k̂ and effective draws, which the peer has not. Nothing is timed unless both find the same nats.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import mmppl.inference.memory
from mmppl import Dataset, Program
from mmppl.bench import step
from mmppl.bench.harness import circumstances, figure, interleave, peak_memory, ratio
from mmppl.inference.query import ask

try:
    from multivae.models import MVAE, MVAEConfig
    from peer import Decoder, Encoder, as_peers, values_of
except ImportError as error:
    sys.exit(f"{error}. Install the peer: pip install multivae==1.0.3 -c constraints.txt")

RESULTS = Path(__file__).parent / "results" / "evidence.json"
TOLERANCE = 5.0  # standard errors of the difference of the mean nats per row


def peers(mine: Program) -> nn.Module:
    """The peer's model with our weights."""
    shapes = {m.name: (*m.shape, *([m.n_classes] if m.classes else [])) for m in mine.modalities}
    config = MVAEConfig(
        n_modalities=len(shapes),
        latent_dim=step.LATENT,
        input_dims=shapes,
        decoders_dist={m.name: m.likelihood for m in mine.modalities},
        decoder_dist_params={m.name: {} if m.scale is None else {"scale": m.scale} for m in mine.modalities},
    )
    encoders = {m.name: Encoder(m.input_size) for m in mine.modalities}
    other = MVAE(config, encoders=encoders, decoders={n: Decoder(shape) for n, shape in shapes.items()})
    for ours, theirs in ((mine.encoders, other.encoders), (mine.decoders, other.decoders)):
        for name, network in ours.items():  # type: ignore[operator]
            theirs[name].net.load_state_dict(network.state_dict())
    return other.eval()


def products(rows: int, draws: int, dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """The matrix products alone, into memory that is there, as many rows of them at once as ours has."""
    jobs = []
    for m in step.MODALITIES:
        for many, inputs, outputs in (
            (rows, m.input_size, step.WIDTH),
            (rows, step.WIDTH, 2 * step.LATENT),
            (rows * draws, step.LATENT, step.WIDTH),
            (rows * draws, step.WIDTH, m.input_size),
        ):
            at_once = min(many, 2 * draws)
            x, w = torch.randn(at_once, inputs, dtype=dtype), torch.randn(outputs, inputs, dtype=dtype)
            jobs.append((x, w.T, torch.empty(at_once, outputs, dtype=dtype), math.ceil(many / at_once)))

    def run() -> None:
        for x, w, out, times in jobs:
            for _ in range(times):
                torch.mm(x, w, out=out)

    return run


def compare(rows: int, draws: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    mine = step.program().eval()
    with torch.no_grad():
        for network in mine.decoders.values():  # type: ignore[operator, union-attr]
            network[-1].weight.mul_(0.2)  # a guide that has learnt nothing is far from a posterior that is narrow
    modalities = list(step.MODALITIES)
    values = values_of(modalities, rows)
    observed = {n: torch.ones(rows, dtype=torch.bool) for n in values}
    data = Dataset("random", tuple(modalities), values, observed, np.arange(rows), np.full(rows, 2, np.int8), True)
    theirs, inputs = peers(mine), as_peers(modalities, values)

    def ours(**options: Any) -> dict[str, np.ndarray]:
        return ask(mine, data, want=["evidence"], draws=draws, **options)["evidence"]

    def peer() -> float:
        with torch.no_grad():
            return -theirs.compute_joint_nll(inputs, K=draws).item() / rows

    found = ours()
    error = 2**0.5 * float(np.sqrt((found["se"] ** 2).sum())) / rows
    off = (float(found["nats"].mean()) - peer()) / error
    if not abs(off) <= TOLERANCE:
        sys.exit(f"nats differ by {off:.1f} standard errors ({found['nats'].mean():.2f}): no figure.")
    candidates = {
        "ours": step.scoped(ours),
        "ours, bf16": step.scoped(lambda: ours(precision="bf16")),
        "peer, same products": step.scoped(peer),
        "peer as it comes": peer,
        "products": step.scoped(products(rows, draws)),
        "products, bf16": step.scoped(products(rows, draws, torch.bfloat16)),
    }
    times = {n: [r.wall for r in t] for n, t in interleave(candidates, rounds=rounds).items()}
    row: dict[str, Any] = {
        "rows": rows,
        "draws": draws,
        "nats": float(found["nats"].mean()),
        "off_in_errors": off,
        "ms_per_row": {n: 1e3 * figure(t).median / rows for n, t in times.items()},
        "peak_mb": {n: peak_memory(candidates[n]) / 1e6 for n in ("ours", "peer as it comes")},
    }
    for above, below in (
        ("peer, same products", "ours"),
        ("peer as it comes", "ours"),
        ("peer as it comes", "ours, bf16"),
        ("ours", "products"),
        ("ours, bf16", "products, bf16"),
    ):
        row[f"{above} over {below}"] = ratio(times[above], times[below])._asdict()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    row = compare(options.rows, options.draws, options.rounds)
    print(json.dumps(row, indent=1), flush=True)
    if options.json:
        found = {**circumstances(), "peer": "multivae 1.0.3", "work": mmppl.inference.memory.WORK, "rows": [row]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
