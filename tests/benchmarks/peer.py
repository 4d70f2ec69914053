"""MoPoE's training step beside the peer's, MultiVae 1.0.3 (optional: `pip install multivae==1.0.3 -c constraints.txt`).

    python tests/benchmarks/peer.py [--modalities 2 3 5] [--small 10] [--rounds 7] [--json [FILE]]

Both with one hidden layer of 400, latent 20, the same likelihoods, all 2^M − 1 subsets, Adam. Two columns: the peer
with the matrix products that `mmppl fit` takes, and the peer as it comes (its default products and optimiser). Peak
memory is that of a step. Nothing is timed unless both give the same divergences with the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmppl import Batch, Modality
from mmppl.bench import mopoe, step
from mmppl.bench.case import apart
from mmppl.bench.harness import circumstances, figure, interleave, peak_memory, ratio
from mmppl.nets import mlp

try:
    from multivae.data.datasets import MultimodalBaseDataset
    from multivae.models import MoPoE, MoPoEConfig
    from multivae.models.nn.default_architectures import BaseDecoder, BaseEncoder
    from pythae.models.base.base_utils import ModelOutput
except ImportError as error:
    sys.exit(f"{error}. Install the peer: pip install multivae==1.0.3 -c constraints.txt")

RESULTS = Path(__file__).parent / "results" / "peer.json"
WIDTH, LATENT = mopoe.WIDTH, mopoe.LATENT
MIXED = (
    *step.MODALITIES,
    Modality("image2", (784,), "bernoulli"),
    Modality("photo2", (3072,), "normal", scale=0.75),
)
TOLERANCE = 1e-5


class Encoder(BaseEncoder):  # type: ignore[misc]
    def __init__(self, size: int) -> None:
        super().__init__()
        self.latent_dim = LATENT  # the peer reads it
        self.net = mlp(size, WIDTH, 2 * LATENT)

    def forward(self, x: Tensor) -> Any:
        loc, log_var = self.net(x.flatten(1)).chunk(2, -1)
        return ModelOutput(embedding=loc, log_covariance=log_var)


class Decoder(BaseDecoder):  # type: ignore[misc]
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.net = mlp(LATENT, WIDTH, torch.Size(shape).numel())

    def forward(self, z: Tensor) -> Any:
        return ModelOutput(reconstruction=self.net(z).reshape(*z.shape[:-1], *self.shape))


def peer(modalities: list[Modality]) -> nn.Module:
    """The peer's model with our networks."""
    shapes = {m.name: (*m.shape, *([m.n_classes] if m.classes else [])) for m in modalities}
    spreads = {m.name: {} if m.scale is None else {"scale": m.scale} for m in modalities}
    config = MoPoEConfig(
        n_modalities=len(modalities),
        latent_dim=LATENT,
        input_dims=shapes,
        decoders_dist={m.name: m.likelihood for m in modalities},
        decoder_dist_params=spreads,
    )
    encoders = {m.name: Encoder(m.input_size) for m in modalities}
    return MoPoE(config, encoders=encoders, decoders={n: Decoder(s) for n, s in shapes.items()})


def values_of(modalities: list[Modality], rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        m.name: torch.randint(m.n_classes, (rows, *m.shape), generator=generator)
        if m.classes
        else torch.rand(rows, *m.shape, generator=generator).round() * (m.likelihood == "bernoulli")
        + torch.rand(rows, *m.shape, generator=generator) * (m.likelihood != "bernoulli")
        for m in modalities
    }


def as_peers(modalities: list[Modality], values: dict[str, Tensor]) -> Any:
    one_hot = {m.name: F.one_hot(values[m.name], m.n_classes).float() for m in modalities if m.classes}
    return MultimodalBaseDataset(data={**values, **one_hot})


def peer_step(model: nn.Module, inputs: Any, fused: bool) -> Callable[[], float]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)

    def run() -> float:
        loss = model(inputs, epoch=1).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def disagreement(mine: Any, other: Any, batch: Batch, inputs: Any) -> float:
    """Relative difference of the subsets' mean divergence from the prior, with the same encoders."""
    for name, encoder in mine.encoders.items():
        other.encoders[name].net.load_state_dict(encoder.state_dict())
    found, _ = mine.objective(batch)["kl.z"]
    latents = other.inference(inputs)  # every subset's mean and log-variance
    parts = [(mu, lv) for mu, lv in latents["subsets"].values()]
    truth = torch.stack([0.5 * (mu**2 + lv.exp() - lv - 1).sum(-1) for mu, lv in parts]).mean()
    return apart([found], [truth])


def compare(modalities: list[Modality], rows: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    values = values_of(modalities, rows)
    batch = Batch(
        values,
        {n: torch.ones(rows, dtype=torch.bool) for n in values},
        torch.arange(rows),
        rows,
        tuple(values),
    )
    inputs = as_peers(modalities, values)
    mine, theirs, as_it_comes = mopoe.program(modalities), peer(modalities), peer(modalities)
    off = disagreement(mine, theirs, batch, inputs)
    if not off <= TOLERANCE:
        sys.exit(f"divergences differ by {off:.1e}: no figure.")
    candidates = {
        "ours": step.scoped(step.ours(mine, batch)),
        "peer, same products": step.scoped(peer_step(theirs, inputs, fused=True)),
        "peer as it comes": peer_step(as_it_comes, inputs, fused=False),
    }
    times = {n: [r.wall for r in t] for n, t in interleave(candidates, rounds=rounds).items()}
    row: dict[str, Any] = {
        "modalities": len(modalities),
        "features": sum(m.input_size for m in modalities),
        "batch": rows,
        "ms": {n: 1e3 * figure(t).median for n, t in times.items()},
        "peak_mb": {n: peak_memory(call) / 1e6 for n, call in candidates.items()},
        "disagreement": off,
    }
    for name in list(candidates)[1:]:
        row[f"{name} over ours"] = ratio(times[name], times["ours"])._asdict()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modalities", type=int, nargs="*", default=[2, 3, 5])
    parser.add_argument("--small", type=int, nargs="*", default=[10], help="so many modalities of 32 features")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for modalities, batch in [
        *((list(MIXED[:count]), 256) for count in options.modalities),
        *((mopoe.modalities(count), 128) for count in options.small),
    ]:
        rows.append(compare(modalities, batch, options.rounds))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        found = {**circumstances(), "peer": "multivae 1.0.3", "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
