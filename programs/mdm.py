"""MDM: scores and classes from one fused code, and a penalty that makes the code tell rows from rows put together.

Source: Colombo, Chapuis, Labeau & Clavel 2021, arXiv:2109.00922, eq. 5 with the bounds of eqs. 6 to 8; the fusion
networks are those of `mmppl.nn.fusion`. No code of the authors is known. Differs: the critic's output is linear, without
dropout, by default (a sigmoid caps the bounds); the spread of a score is learned, as a question asks for it; the critic
has an optimiser of its own, in the same step; any modality may be missing from any row.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pyro
import torch
from pyro.distributions import Delta
from torch import Tensor, nn

from mmppl import (
    FUSIONS,
    Batch,
    DeltaOrPrior,
    Modality,
    Program,
    Shuffle,
    Terms,
    TotalCorrelation,
    UsageError,
    in_one,
    nll,
    observe,
    shuffled,
    trace,
)

Penalty = Literal["none", "dv", "nwj", "js", "chi2", "wasserstein", "infonce", "smile"]


class MDM(Program):
    """p(y | Z) for each label y, Z = fuse(all that a row has), a point.

    Minimises Σ_y w nll_y − penalty_weight · I(Z), I a lower bound on the total correlation of the modalities that a
    critic finds by telling Z of rows from Z̄ of rows whose modalities come from different rows. Both the critic and the
    fusion network raise it.

    Nothing is said about the modalities themselves, so there is neither evidence nor an answer about them. A row of
    which nothing is seen has a Z from N(0, I), of which no decoder has learned anything.

    Args:
        modalities: the schema of the data: at least one label, and sequences or vectors, which are sequences of one
            step.
        fusion: name of the fusion network: "ef-lstm", "lf-lstm", "tfn", "lmf", "mfn", "mag-bert", "mag-xlnet", or one
            that was registered with `mmppl.fusion_network`.
        configuration: name of a published configuration of that network; "": our own.
        text: the modality that networks read as words; None: the one that is called "text", else the first.
        width: of Z, for networks whose width can be chosen; None: the network's own.
        model: for MAG: folder of the transformer, or its name in the hub's cache; "": the network's own.
        pretrained: for MAG: whether the transformer's weights are loaded.
        limit: standardised features are cut off at ± this; 0: they are not.
        penalty: the bound, or "none"; "wasserstein" is a distance and not in nats.
        penalty_weight: λ. With 0 the critic runs and moves nothing else, so that a run without penalty can be compared
            with one whose random numbers are the same.
        critic_steps: how often the critic moves per batch.
        critic_lr: its learning rate.
        critic_width: of its layers.
        critic_layers: their number.
        critic_dropout: in training.
        critic_sigmoid: whether its output lies in (0, 1), as in the paper.
    """

    default_data = "digits-sequences"
    training = dict(lr=2e-3)
    presets = {
        # the critic as in table 4, whose widths are not printed; one step for all
        "paper": dict(
            penalty="wasserstein", penalty_weight=0.01, critic_layers=5, critic_width=256, critic_dropout=0.4,
            critic_sigmoid=True, epochs=40, batch_size=32, lr=1e-3, schedule="constant",
        ),
        # settings that are good for the utterances of CMU-MOSI
        "mosi": dict(epochs=12, batch_size=64, lr=5e-4, schedule="constant", refit=False, calibrate=False),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        fusion: str = "mfn",
        configuration: str = "",
        text: str | None = None,
        width: int | None = None,
        model: str = "",
        pretrained: bool = True,
        limit: float = 5.0,
        penalty: Penalty = "none",
        penalty_weight: float = 0.01,
        critic_steps: int = 1,
        critic_lr: float = 1e-3,
        critic_width: int = 128,
        critic_layers: int = 3,
        critic_dropout: float = 0.0,
        critic_sigmoid: bool = False,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(limit=limit, penalty_weight=penalty_weight)
        labels = [m for m in modalities if m.role == "label"]
        if not labels:
            raise UsageError("MDM predicts labels and the data have none; name one, such as --as score=normal,role=label.")
        seen = [self.modality(name) for name in self.encoded]
        sizes = {m.name: m.features_of_step if m.sequence else m.input_size for m in seen}
        chosen = network_options(fusion, configuration, width=width, model=model, pretrained=pretrained)
        words = text if text is not None else "text" if "text" in sizes else None
        self.limit = limit
        self.fusion = FUSIONS[fusion](sizes, text=words, **chosen)
        self.decoders = nn.ModuleDict({m.name: nn.Linear(self.fusion.d, m.output_size) for m in labels})
        self.weights = {m.name: 1.0 for m in labels}
        self.shuffle = self.bound = None
        if penalty != "none":
            if len(seen) < 2:
                raise UsageError(f"MDM: penalty={penalty} needs two modalities, and there is one; leave it out.")
            self.shuffle = Shuffle(len(seen))
            self.bound = TotalCorrelation(
                [self.fusion.d], method=penalty, name=f"tc.{penalty}", weight=penalty_weight, lr=critic_lr,
                steps=critic_steps, flags=len(seen), width=critic_width, layers=critic_layers, dropout=critic_dropout,
                sigmoid=critic_sigmoid,
            )  # fmt: skip

    def targets(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(self.decoders)

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  y ~ likelihood_y(W z + b)."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.fusion.d))
            for m in self.each_modality():
                if m.name in self.decoders:
                    observe(m, self.decoders[m.name], z, batch)

    def guide(self, batch: Batch) -> None:
        """δ(z − Z)."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", Delta(code, event_dim=1))

    def query_guide(self, batch: Batch) -> None:
        """The same, but the prior where nothing is seen."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", DeltaOrPrior(code, batch.seen.any(-1), self.standard_normal(self.fusion.d)))

    def objective(self, batch: Batch) -> Terms:
        """The labels of rows of which anything is seen, and the penalty."""
        known = batch.seen.any(-1)
        batch = replace(batch, active=known if batch.active is None else known & batch.active)
        if self.bound is None or self.shuffle is None:
            return nll(trace(self, batch), self.weights)
        source = self.shuffle(batch.seen)
        both = self.code(in_one(batch, shuffled(batch, self.encoded, source)))  # one pass, which is faster than two
        joint, product = both.split(len(batch))

        def guide(batch: Batch) -> None:
            with batch.plates():
                pyro.sample("z", Delta(joint, event_dim=1))

        terms = nll(trace(self, batch, guide), self.weights)
        return terms | self.bound.terms([joint], [product], batch.seen, batch.seen.sum(-1) >= 2)

    def code(self, batch: Batch) -> Tensor:
        """Z, (B, d)."""
        features, steps = {}, {}
        for name in self.encoded:
            m = self.modality(name)
            x, exists = batch.steps(m)
            standardised = self.limit and m.scaling.transform == "standardise"
            features[name] = x.clamp(-self.limit, self.limit) if standardised else x
            steps[name] = exists & batch.sees(name).unsqueeze(-1)
        found: Tensor = self.fusion(features, steps)
        return found


def network_options(
    fusion: str, configuration: str, *, width: int | None, model: str, pretrained: bool
) -> dict[str, object]:
    """The keyword arguments of a fusion network, of which one that is left as it is is not passed on.

    Raises:
        UsageError: the network has no such configuration.
    """
    known = FUSIONS[fusion].presets
    if configuration and configuration not in known:
        there = f"; there are {', '.join(known)}." if known else ", and it has none; leave it out."
        raise UsageError(f"MDM: no configuration {configuration!r} of {fusion}{there}")
    found: dict[str, object] = dict(known[configuration]) if configuration else {}
    if width is not None:
        found["d"] = width
    if model:
        found["model"] = model
    return found if pretrained else found | dict(pretrained=False)
