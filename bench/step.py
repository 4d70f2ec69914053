"""One training step of a three-modality MVAE: through our program, by hand, as usually written with Pyro, and its
matrix products alone.

784 Bernoulli, 3,072 Laplace and 8 × 71 categorical features, one hidden layer of 400, latent 20, the 7 subsets, each of
which decodes all three modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from mmppl import Batch, Modality, Program, all_subsets, load_program
from mmppl.base.precision import matmul_precision, probe_matmul
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.nn.mlp import mlp
from mmppl.train.cuda_graph import CapturedStep
from mmppl.train.optimiser import adam, mutable_state
from mmppl.train.step import Step

from .case import Case, apart

WIDTH, LATENT, SCALE, LENGTH, CLASSES = 400, 20, 0.75, 8, 71
MODALITIES = (
    Modality("image", (784,), "bernoulli"),
    Modality("photo", (3072,), "laplace", scale=SCALE),
    Modality("text", (LENGTH,), "categorical", classes=tuple(range(CLASSES))),
)


def sample(rows: int, device: str = "cpu") -> Batch:
    """Make a batch of random values of the shapes above, with nothing missing."""
    generator = torch.Generator().manual_seed(0)
    values = {
        "image": torch.rand(rows, 784, generator=generator).round(),
        "photo": torch.rand(rows, 3072, generator=generator),
        "text": torch.randint(CLASSES, (rows, LENGTH), generator=generator),
    }
    values = {name: value.to(device) for name, value in values.items()}
    observed = {name: torch.ones(rows, dtype=torch.bool, device=device) for name in values}
    return Batch(values, observed, torch.arange(rows, device=device), rows, tuple(values))


def program() -> Program:
    """Make the installed MVAE, each of whose ELBOs scores all modalities, with plain ReLU networks."""
    mvae: Any = load_program("mvae")
    made: Program = mvae(MODALITIES, latent_dim=LATENT, hidden=WIDTH, layers=1, linear=False, scored="observed")
    made.encoders = nn.ModuleDict({m.name: mlp(m.input_size, WIDTH, 2 * LATENT) for m in MODALITIES})
    made.decoders = nn.ModuleDict({m.name: mlp(LATENT, WIDTH, m.output_size, narrow=True) for m in MODALITIES})
    return made


def ours(program: Program, batch: Batch, precision: str = "fp32") -> Callable[[], float]:
    """Make a step of `mmppl fit`: terms, gradients, fused Adam; on a GPU as one CUDA graph.

    Args:
        program: the program that is trained.
        batch: the batch.
        precision: "fp32" or "bf16".

    Returns:
        The step, which returns its loss.
    """
    device = batch.index.device
    program = program.to(device).train()
    optimiser = adam(program, 1e-3, device)
    if device.type == "cuda":
        step = Step(program, precision=precision, replay=False)
        captured = CapturedStep(step, optimiser.step, partial(mutable_state, program, [optimiser]))
        return lambda: float(captured(batch).loss)
    recorded = Step(program, precision=precision)

    def run() -> float:
        outcome = recorded(batch)
        optimiser.step()
        return float(outcome.loss)

    return run


def scoped(run: Callable[[], object]) -> Callable[[], None]:
    """Make the same call with matrix products in the way that `mmppl fit` computes them."""
    path = probe_matmul()

    def inside() -> None:
        with matmul_precision(path):
            run()

    return inside


class Plain(nn.Module):
    """The same by hand, in plain PyTorch, as a careful author would write it for this one model."""

    subsets: Tensor

    def __init__(self) -> None:
        super().__init__()
        sizes = [m.input_size for m in MODALITIES]
        self.encoders = nn.ModuleList(mlp(size, WIDTH, 2 * LATENT) for size in sizes)
        self.decoders = nn.ModuleList(mlp(LATENT, WIDTH, size) for size in sizes)
        self.register_buffer("subsets", all_subsets(len(sizes)).float())

    def loss(self, image: Tensor, photo: Tensor, text: Tensor) -> Tensor:
        """The sum of the negative ELBOs over the subsets, mean over the rows.

        Args:
            image: (B, 784).
            photo: (B, 3072).
            text: (B, 8) codes.

        Returns:
            A scalar.
        """
        inputs = [image, photo, F.one_hot(text, CLASSES).flatten(1).to(image.dtype)]
        heads = [encoder(x) for encoder, x in zip(self.encoders, inputs)]
        loc, log_var = (torch.stack(t) for t in zip(*(h.float().chunk(2, 1) for h in heads)))
        precision = torch.exp(-log_var.clamp(-12, 12))
        total = 1 + torch.einsum("sm,mbd->sbd", self.subsets, precision)
        mean = torch.einsum("sm,mbd->sbd", self.subsets, precision * loc) / total
        z = mean + torch.randn_like(mean) * total.rsqrt()
        kl = 0.5 * (mean * mean + 1 / total + torch.log(total) - 1).sum()
        logits, means, tokens = (decoder(z).float() for decoder in self.decoders)
        nll = F.binary_cross_entropy_with_logits(logits, image.expand_as(logits), reduction="sum")
        nll = nll + (means - photo).abs().sum() / SCALE + means.numel() * torch.tensor(2 * SCALE).log()
        every = text.expand(len(self.subsets), *text.shape).reshape(-1)
        nll = nll + F.cross_entropy(tokens.reshape(-1, CLASSES), every, reduction="sum")
        return (nll + kl) / len(image)


def plain(model: Plain, batch: Batch, precision: str = "fp32") -> Callable[[], float]:
    """Make a hand-written step: loss, backward, fused Adam.

    Args:
        model: the hand-written model.
        batch: the batch.
        precision: "fp32" or "bf16".

    Returns:
        The step, which returns its loss.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    image, photo, text = batch.values.values()

    def run() -> float:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(image, photo, text)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def idiomatic(model: Plain, batch: Batch) -> Callable[[], float]:
    """Make a step as in Pyro's tutorials: a model, a guide and an ELBO per subset, in a Python loop.

    Args:
        model: the hand-written model, whose networks it uses.
        batch: the batch.

    Returns:
        The step, which returns its loss.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    image, photo, text = batch.values.values()
    one_hot = F.one_hot(text, CLASSES).to(image.dtype)
    inputs = [image, photo, one_hot.flatten(1)]
    elbo, rows = Trace_ELBO(), len(image)
    zero = image.new_zeros(rows, LATENT)

    def story(subset: list[bool]) -> None:
        pyro.module("networks", model)
        with pyro.plate("data", rows):
            z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
            logits, means, tokens = (decoder(z) for decoder in model.decoders)
            pyro.sample("image", dist.Bernoulli(logits=logits).to_event(1), obs=image)
            pyro.sample("photo", dist.Laplace(means, means.new_tensor(SCALE)).to_event(1), obs=photo)
            categories = dist.OneHotCategorical(logits=tokens.view(rows, LENGTH, CLASSES)).to_event(1)
            pyro.sample("text", categories, obs=one_hot)

    def guide(subset: list[bool]) -> None:
        pyro.module("networks", model)
        with pyro.plate("data", rows):
            heads = [encoder(x).chunk(2, 1) for encoder, x, seen in zip(model.encoders, inputs, subset) if seen]
            precisions = [torch.exp(-log_var) for _, log_var in heads]
            total = 1 + torch.stack(precisions).sum(0)
            mean = torch.stack([p * loc for p, (loc, _) in zip(precisions, heads)]).sum(0) / total
            pyro.sample("z", dist.Normal(mean, total.rsqrt()).to_event(1))

    def run() -> float:
        with pyro.validation_enabled(True):
            optimiser.zero_grad()
            subsets = all_subsets(len(inputs)).tolist()
            loss = sum(elbo.differentiable_loss(story, guide, subset) for subset in subsets) / rows
            loss.backward()
            optimiser.step()
            return loss.item()

    return run


def products(rows: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Callable[[], None]:
    """Make a call of the step's matrix products alone, into existing memory: forward, and both gradients of every layer
    except those of the data.
    """
    layers = []
    decode = rows * len(all_subsets(len(MODALITIES)))
    for m in MODALITIES:
        layers += [(rows, m.input_size, WIDTH, False), (rows, WIDTH, 2 * LATENT, True)]
        layers += [(decode, LATENT, WIDTH, True), (decode, WIDTH, m.input_size, True)]
    return products_of(layers, dtype, device)


def products_of(
    layers: Iterable[tuple[int, int, int, bool]], dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Callable[[], None]:
    """Make a call of the matrix products of linear layers.

    Args:
        layers: (rows, inputs, outputs, whether the inputs need a gradient) of each layer.
        dtype: dtype of the matrices.
        device: "cpu" or "cuda".

    Returns:
        The call.
    """
    jobs = []
    for n, i, o, inner in layers:
        x, w, g = (torch.randn(*shape, dtype=dtype, device=device) for shape in ((n, i), (o, i), (n, o)))
        jobs += [(x, w.T, torch.empty_like(g)), (g.T, x, torch.empty_like(w))]
        jobs += [(g, w, torch.empty_like(x))] if inner else []

    def run() -> None:
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return run


def disagreement(batch: Batch) -> float:
    """Compute the largest relative difference of loss and gradients between our program and the hand-written model,
    with the same weights and noise; the step is first eager, then recorded.
    """
    device = batch.index.device
    mine, other = program().to(device), Plain().to(device)
    pairs = [
        pair
        for part in ("encoders", "decoders")
        for m, network in zip(MODALITIES, getattr(other, part))
        for pair in zip(getattr(mine, part)[m.name].parameters(), network.parameters())
    ]
    return steps_apart(Step(mine.train()), batch, lambda: other.loss(*batch.values.values()), pairs)


def steps_apart(step: Step, batch: Batch, theirs: Callable[[], Tensor], pairs: Sequence[tuple[Any, Any]]) -> float:
    """Compute the largest relative difference of loss and gradients between our step, first eager, then recorded, and a
    hand-written loss. The hand-written model, whose parameters are the second of each pair, gets ours and our noise.
    """
    moving, worst = [pair for pair in pairs if pair[0] in set(step.parameters)], 0.0
    for seed in range(3):
        with torch.no_grad():
            for a, b in pairs:
                b.copy_(a.mul_(0.99))  # changed each time, so that a step that keeps old weights is found out
        torch.manual_seed(seed)
        found = step(batch)
        torch.manual_seed(seed)
        loss = theirs()
        truth = torch.autograd.grad(loss, [b for _, b in moving])
        worst = max(worst, apart([found.loss, *(a.grad for a, _ in moving)], [loss, *truth]))
    return worst


def case(rows: int = 256, precision: str = "fp32", device: str = "cpu") -> Case:
    """The step, with matrix products in the way that `mmppl fit` computes them, except for the idiomatic rival, which
    takes them as they come.

    Args:
        rows: the number of rows.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".

    Returns:
        The case.
    """
    torch.manual_seed(0)
    batch = sample(rows, device)
    rivals = {
        "idiomatic Pyro": idiomatic(Plain().to(device), batch),
        "hand-written PyTorch": scoped(plain(Plain().to(device), batch, precision)),
    }
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Case(
        f"MVAE step, 3 modalities, {precision}",
        f"batch={rows} subsets=7",
        scoped(ours(program(), batch, precision)),
        rivals,
        scoped(products(rows, dtype, device)),
        lambda: (disagreement(sample(16, device)), 1e-5),
    )


def with_holes(rate: float, rows: int = 256) -> Case:
    """The step with modalities missing at random: decoding only what is scored, against decoding everything.

    Args:
        rate: the share that is missing.
        rows: the number of rows.

    Returns:
        The case.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    whole = sample(rows)
    observed = {name: torch.rand(rows, generator=generator) >= rate for name in whole.values}
    observed["image"] |= ~torch.stack(list(observed.values())).any(0)  # nothing is learned from an empty row
    batch = Batch(whole.values, observed, whole.index, rows, whole.encoded)
    packed = replace(batch, patterns=MissingnessPatterns.of(observed))

    def error() -> tuple[float, float]:
        found = []
        made = program().train()
        for one in (packed, batch):
            torch.manual_seed(2)
            outcome = Step(made, replay=False)(one)
            found.append([outcome.loss, *(p.grad for p in made.parameters() if p.grad is not None)])
        return apart(*found), 1e-5

    return Case(
        "MVAE step, 3 modalities, fp32, decoding what is scored",
        f"batch={rows} subsets=7 missing={rate:.0%}",
        scoped(ours(program(), packed)),
        {"decoding everything": scoped(ours(program(), batch))},
        None,
        error,
    )
