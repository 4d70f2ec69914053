"""Training steps of MVAE, JMVAE, MMVAE and MoPoE beside the peer's, MultiVae 1.0.3 (optional: `pip install
multivae==1.0.3 -c constraints.txt`).

    python tests/benchmarks/peer.py [--models MoPoE ...] [--modalities 2 3 5] [--small 10] [--rounds 7] [--json [FILE]]

Both with one hidden layer of 400, latent 20, the same likelihoods and objectives, Adam. Two columns: the peer with the
matrix products that `mmppl fit` takes, and the peer as it comes (its default products and optimiser). Peak memory is
that of a step. Nothing is timed unless both give the same loss with the same weights (MoPoE: the same divergences,
since the peer picks components by a row's position).
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

from mmppl import Batch, Modality, Program, load_program
from mmppl.bench import step
from mmppl.bench.case import apart
from mmppl.bench.harness import circumstances, figure, interleave, peak_memory, ratio
from mmppl.bench.steps import mopoe
from mmppl.nn.mlp import mlp

try:
    import multivae.models as peers
    from multivae.data.datasets import MultimodalBaseDataset
    from multivae.models.nn.default_architectures import BaseDecoder, BaseEncoder, BaseJointEncoder
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
TOLERANCE = 1e-5  # relative, of divergences
DRAWS, SIGMAS = 32, 5.0  # losses are means over so many draws, and differ by no more standard errors
EPOCH = 100  # beyond the peer's warm-up
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # name → our program, its and the peer's settings
    "MVAE": ("mvae", dict(subsets="sampled", extra=0, scored="seen", cross=0.0), {}),
    "JMVAE": ("jmvae", dict(alpha=0.1, towards="both"), dict(alpha=0.1)),
    "MMVAE": ("mmvae", dict(draws=1, latent="laplace", learn_prior=True), dict(K=1)),
    "MMVAE, K=10": ("mmvae", dict(draws=10, latent="laplace", learn_prior=True), dict(K=10)),
    "MoPoE": ("mopoe", dict(scored="observed", prior_expert="full"), {}),
}


class Encoder(BaseEncoder):  # type: ignore[misc]
    def __init__(self, size: int) -> None:
        super().__init__()
        self.latent_dim = LATENT  # the peer reads it
        self.net = mlp(size, WIDTH, 2 * LATENT)

    def forward(self, x: Tensor) -> Any:
        loc, log_var = self.net(x.flatten(1)).chunk(2, -1)
        return ModelOutput(latent_space=loc, log_covariance=log_var)


class Decoder(BaseDecoder):  # type: ignore[misc]
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.net = mlp(LATENT, WIDTH, torch.Size(shape).numel())

    def forward(self, z: Tensor) -> Any:
        return ModelOutput(reconstruction=self.net(z).reshape(*z.shape[:-1], *self.shape))


class JointEncoder(BaseJointEncoder):  # type: ignore[misc]
    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self.latent_dim, self.names = LATENT, list(sizes)
        self.net = mlp(sum(sizes.values()), WIDTH, 2 * LATENT)

    def forward(self, x: dict[str, Tensor]) -> Any:
        loc, log_var = self.net(torch.cat([x[n].flatten(1) for n in self.names], -1)).chunk(2, -1)
        return ModelOutput(latent_space=loc, log_covariance=log_var)


def ours(model: str, modalities: list[Modality]) -> Any:
    name, hyper, _ = MODELS[model]
    plain = dict(latent_dim=LATENT, hidden=WIDTH, layers=1, activation="relu", norm=False, linear=False)
    return load_program(name)(modalities, **plain, **hyper)  # type: ignore[arg-type]


def peer(model: str, mine: Program) -> nn.Module:
    """The peer's model with our networks and weights."""
    modalities, family = mine.modalities, model.partition(",")[0]
    shapes = {m.name: (*m.shape, *([m.n_classes] if m.classes else [])) for m in modalities}
    config = getattr(peers, f"{family}Config")(
        n_modalities=len(modalities),
        latent_dim=LATENT,
        input_dims=shapes,
        decoders_dist={m.name: m.likelihood for m in modalities},
        decoder_dist_params={m.name: {} if m.scale is None else {"scale": m.scale} for m in modalities},
        **MODELS[model][2],
    )
    sizes = {m.name: m.input_size for m in modalities}
    networks: dict[str, Any] = dict(
        encoders={n: Encoder(size) for n, size in sizes.items()},
        decoders={n: Decoder(shape) for n, shape in shapes.items()},
    )
    if family == "JMVAE":
        networks["joint_encoder"] = JointEncoder(sizes)
    made: nn.Module = getattr(peers, family)(config, **networks)
    with torch.no_grad():
        for kind in ("encoders", "decoders"):
            for name, network in getattr(mine, kind).items():
                getattr(made, kind)[name].net.load_state_dict(network.state_dict())
        if family == "JMVAE":
            made.joint_encoder.net.load_state_dict(mine.joint.head.state_dict())  # type: ignore[union-attr]
    return made


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
        loss = model(inputs, epoch=EPOCH).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return run


def divergences_apart(mine: Any, other: Any, batch: Batch, inputs: Any) -> float:
    """Relative difference of the subsets' mean divergence from the prior."""
    found, _ = mine.objective(batch)["kl.z"]
    latents = other.inference(inputs)  # every subset's mean and log-variance
    parts = [(mu, lv) for mu, lv in latents["subsets"].values()]
    truth = torch.stack([0.5 * (mu**2 + lv.exp() - lv - 1).sum(-1) for mu, lv in parts]).mean()
    return apart([found], [truth])


def losses_apart(mine: Program, other: nn.Module, batch: Batch, inputs: Any, per_row: float) -> float:
    """Difference of the mean losses over `DRAWS` draws, in standard errors."""
    found = torch.stack([mine.objective(batch).loss.detach() for _ in range(DRAWS)]).double()
    truth = torch.stack([other(inputs, epoch=EPOCH).loss.detach() / per_row for _ in range(DRAWS)]).double()
    error = ((found.var() + truth.var()) / DRAWS).sqrt()
    return float((found.mean() - truth.mean()).abs() / error)


def compare(model: str, modalities: list[Modality], rows: int, rounds: int) -> dict[str, Any]:
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
    mine = ours(model, modalities)
    theirs, as_it_comes = peer(model, mine), peer(model, mine)
    if model == "MoPoE":
        off, allowed = divergences_apart(mine, theirs, batch, inputs), TOLERANCE
    else:  # the peer's MMVAE sums over rows
        off, allowed = losses_apart(mine, theirs, batch, inputs, rows if model.startswith("MMVAE") else 1), SIGMAS
    if not off <= allowed:
        sys.exit(f"{model}: off by {off:.1e}, allowed {allowed:.1e}: no figure.")
    candidates = {
        "ours": step.scoped(step.ours(mine, batch)),
        "peer, same products": step.scoped(peer_step(theirs, inputs, fused=True)),
        "peer as it comes": peer_step(as_it_comes, inputs, fused=False),
    }
    times = {n: [r.wall for r in t] for n, t in interleave(candidates, rounds=rounds).items()}
    row: dict[str, Any] = {
        "model": model,
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
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--modalities", type=int, nargs="*", default=[2, 3, 5])
    parser.add_argument("--small", type=int, nargs="*", default=[10], help="MoPoE on so many modalities of 32 features")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    cases = [(model, list(MIXED[:count]), 256) for model in options.models for count in options.modalities]
    if "MoPoE" in options.models:
        cases += [("MoPoE", mopoe.modalities(count), 128) for count in options.small]
    for model, modalities, batch in cases:
        rows.append(compare(model, modalities, batch, options.rounds))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        found = {**circumstances(), "peer": "multivae 1.0.3", "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
