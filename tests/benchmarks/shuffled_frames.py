"""Why importances do not find recordings whose frames are in another order: what IMA minimises, there and elsewhere.

    python tests/benchmarks/shuffled_frames.py --root DATA [--noise shuffled|white] [--seeds 0]
        [--dependence covariance hsic]

fits IMA to `mnist-speech:speech_noise=NOISE` as `importance.py` does, and keeps its codes. Then, for the importances of
speech, with those of the image as they were learned, a line of JSON says what the second stage minimises (‖C‖² over its
value with equal weights, plus the KL of the mean importance; the mean over batches of 512 training rows, and `whole`,
all training rows as one batch) at

- found: what the fit learned;
- oracle: y = .999 in recordings and .001 in noise;
- one class: y = .001 in the pairs of one digit in which nothing is noise, .999 in the others: the digit where the
  objective is least. Given the digit, an image and a recording have nothing to do with each other: such rows are what
  the second stage looks for, as good as noise;
- supervised: importance networks of the same shape that were taught the noise by cross-entropy;
- from supervised: the same after 1,000 steps of the second stage;
- from the prior: 2,000 steps of the second stage from networks that begin near ρ,

and with what area under the ROC curve each finds noise in the test rows. `codes` is the area that a network of the same
shape reaches, taught from the codes alone: whether they still tell what is to be found.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from importance import fitted, read
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from mmppl import bernoulli_kl, pool_codes
from mmppl.evaluation.scores import detection

BATCH, SIDE = 512, 1  # rows; the place of speech
FAR = 6.9  # log-odds of .999
Logits = Callable[[Tensor], Tensor]  # row numbers → log-odds of y


class World:
    """The codes of a fitted program, inputs of speech, and which rows are noise."""

    def __init__(self, program: Any, data: Any) -> None:
        self.program = program.eval()
        split = torch.as_tensor(data.split)
        self.train, self.test = (split == 0).nonzero()[:, 0], (split == 2).nonzero()[:, 0]
        rows, codes, log_y, x = torch.arange(len(data)).split(4096), [], [], []
        program.stage = "importance"
        with torch.no_grad():
            for index in rows:
                batch = data.batch(index, program.encoded)
                codes.append(program.codes(batch))
                log_y.append(program.log_importances(batch))
                x.append(batch.input(program.modality("speech")))
        self.u, self.log_y, self.x = torch.cat(codes, 1), torch.cat(log_y, 1), torch.cat(x)
        self.noise = torch.as_tensor(data.annotations["noise_speech"]).bool()
        clean = ~self.noise & ~torch.as_tensor(data.annotations["noise_image"]).bool()
        self.digit = torch.where(clean, data.values["label"].reshape(-1).long(), -1)
        self.shift = program.rho.logit()[SIDE]

    def loss(self, index: Tensor, logits: Tensor) -> Tensor:
        """(2,): the scaled ‖C‖² and the KL, of a batch."""
        u, own = self.u[:, index], logsigmoid(logits)
        log_y = torch.stack([self.log_y[0, index], own])
        seen = torch.ones_like(log_y, dtype=torch.bool)
        z = pool_codes(u, log_y.detach(), seen.mT)
        corr = self.program.dependence(z, u, -torch.expm1(log_y), observed=seen)[SIDE]
        local = bernoulli_kl(own.exp().mean(), self.program.rho[SIDE])
        return torch.stack([self.program.corr_weight[SIDE] * corr, local])

    def told(self, setting: str, logits: Logits) -> dict[str, Any]:
        with torch.no_grad():
            whole = self.loss(self.train, logits(self.train)).sum().item()
            batches = self.train[: len(self.train) // BATCH * BATCH].split(BATCH)
            corr, local = torch.stack([self.loss(b, logits(b)) for b in batches]).mean(0).tolist()
            y = logits(self.test).sigmoid()
        numbers = detection(self.noise[self.test].numpy(), (1 - y).numpy())
        return dict(
            setting=setting,
            corr=corr,
            local=local,
            objective=corr + local,
            whole=whole,
            mean=y.mean().item(),
            **numbers,
        )

    def of_net(self, net: nn.Module, inputs: Tensor) -> Logits:
        return lambda index: net(inputs[index]).squeeze(-1) + self.shift

    def learn(self, net: nn.Module, inputs: Tensor, steps: int, *, taught: bool, seed: int) -> Logits:
        """A network that learns from the noise itself, or by the second stage."""
        draw, logits = torch.Generator().manual_seed(seed), self.of_net(net, inputs)
        adam = torch.optim.Adam(net.parameters(), lr=1e-3)
        net.train()
        for _ in range(steps):
            index = self.train[torch.randint(len(self.train), (BATCH,), generator=draw)]
            found = logits(index)
            loss = self.loss(index, found).sum()
            if taught:
                loss = binary_cross_entropy_with_logits(found, (~self.noise[index]).float())
            adam.zero_grad()
            loss.backward()
            adam.step()
        net.eval()
        return logits


def fresh(net: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = copy.deepcopy(net)
    for part in net.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--noise", default="shuffled", choices=("shuffled", "white"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--dependence", nargs="*", default=["covariance", "hsic"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = read(asked.root, speech_noise=asked.noise)
    for seed in asked.seeds:
        for dependence in asked.dependence:
            run, _ = fitted(data, seed, dependence=dependence)
            world = World(run.program, data)
            own = run.program.importances["speech"]
            oracle = torch.where(world.noise, -FAR, FAR)
            lines = [
                world.told("found", world.of_net(own, world.x)),
                world.told("oracle", lambda index, y=oracle: y[index]),
            ]
            classes = [torch.where(world.digit == digit, -FAR, FAR) for digit in range(10)]
            told = [world.told("one class", lambda index, y=y: y[index]) for y in classes]
            lines.append(min(told, key=lambda line: line["objective"]))
            net = fresh(own, seed)
            lines.append(world.told("supervised", world.learn(net, world.x, 1_000, taught=True, seed=seed)))
            lines.append(world.told("from supervised", world.learn(net, world.x, 1_000, taught=False, seed=seed)))
            start = fresh(own, seed + 1)
            lines.append(world.told("from the prior", world.learn(start, world.x, 2_000, taught=False, seed=seed)))
            codes = nn.Sequential(
                nn.Linear(world.u.shape[-1], 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1)
            )
            lines.append(world.told("codes", world.learn(codes, world.u[SIDE], 1_000, taught=True, seed=seed)))
            for line in lines:
                print(json.dumps(dict(noise=asked.noise, seed=seed, dependence=dependence) | line), flush=True)


if __name__ == "__main__":
    main()
