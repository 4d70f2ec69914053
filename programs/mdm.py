"""MDM: scores and classes from one fused code, and a penalty that makes the code tell rows from rows put together.

Source: Colombo, Chapuis, Labeau & Clavel 2021, arXiv:2109.00922, eq. 5 with the bounds of eqs. 6 to 8; the fusion
networks are those of `mmppl.nn.fusion`. No code of the authors is known. Differs: the critic's output is linear by
default, without dropout (a sigmoid caps the bounds); the spread of a score is learned, as a question asks for it; the
critic has an optimiser of its own, in the same step; any modality may be missing from any row.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import pyro
import torch
from pyro.distributions import Delta
from torch import Tensor, nn

from mmppl import (
    Batch,
    DeltaOrPrior,
    EmbeddingNetwork,
    FusionNetwork,
    Modality,
    Program,
    Shuffle,
    Terms,
    TotalCorrelation,
    UsageError,
    fusion_class,
    in_one,
    nll,
    observe,
    shuffled,
    suggest,
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
        fusion: name of the fusion network: "lf-lstm", "tfn" and "lmf" take any sequences, "ef-lstm" and "mfn" those
            that are aligned step by step, "mag-bert" and "mag-xlnet" word pieces and features of words; or one that was
            registered with `mmppl.fusion_network`.
        configuration: name of a published configuration of that network; "": our own.
        text: the modality that networks read as words; None: the one that is called "text", else the first.
        width: of Z, for networks whose width can be chosen; None: the network's own.
        model: for MAG: folder of the transformer, or its name in the hub's cache; "": the network's own.
        pretrained: for MAG: whether the transformer's weights are loaded.
        beta: for MAG: how long the shift of a word's vector may be, relative to the vector; None: the network's own, 1.
        dropout: the network's rate, of MAG after that shift; None: the network's own.
        limit: standardised features are cut off at ± this; 0: they are not.
        drop: the probability with which a modality of a row is hidden in a step of training (never all of them), so
            that labels can be read off any of them; 0, as published: a modality that is dropped at a query only is one
            that the network has never missed.
        penalty: the bound, or "none"; "wasserstein" is a distance and not in nats.
        penalty_weight: λ. With 0 the critic runs and moves nothing else, so that a run without penalty can be compared
            with one whose random numbers are the same.
        critic_on: "fused": the critic tells Z of rows from Z of rows put together, which fuses twice as many rows; or
            "unimodal": it sees what "lf-lstm", "mfn", "tfn" and "lmf" make of each modality alone, and rows are put
            together of that. There the fusion itself learns nothing from the penalty.
        critic_steps: how often the critic moves per batch.
        critic_lr: its learning rate.
        critic_width: of its layers.
        critic_layers: their number.
        critic_dropout: in training.
        critic_sigmoid: whether its output lies in (0, 1), as in the paper.
        critic_lipschitz: what bounds the slope of the critic of "wasserstein": "spectral" norms of its layers, which
            allow no dropout, a "penalty" on its gradient, or the "clip" of its weights.
    """

    default_data = "digits-sequences"
    takes_covariates = True
    training = dict(lr=2e-3, batch_size=128, steps=500)
    presets = {
        # the critic of table 4; its widths, what bounds its slope, λ and the settings of the fit are not printed
        "paper": dict(
            drop=0.0, penalty="wasserstein", penalty_weight=0.01, critic_on="fused", critic_steps=1, critic_layers=5,
            critic_width=256, critic_dropout=0.4, critic_sigmoid=True, critic_lipschitz="penalty", epochs=40,
            batch_size=32, lr=1e-3, schedule="constant", refit=False, calibrate=False,
        ),
        # for the utterances of CMU-MOSI: of 12 epochs the one that serves the validation rows best
        "mosi": dict(
            drop=0.0, epochs=12, patience=12, batch_size=64, lr=1e-3, schedule="constant", refit=False, calibrate=False,
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        fusion: str = "lf-lstm",
        configuration: str = "",
        text: str | None = None,
        width: int | None = None,
        model: str = "",
        pretrained: bool = True,
        beta: float | None = None,
        dropout: float | None = None,
        limit: float = 5.0,
        drop: float = 0.3,
        penalty: Penalty = "none",
        penalty_weight: float = 0.01,
        critic_on: Literal["fused", "unimodal"] = "fused",
        critic_steps: int = 1,
        critic_lr: float = 1e-3,
        critic_width: int = 128,
        critic_layers: int = 3,
        critic_dropout: float = 0.0,
        critic_sigmoid: bool = False,
        critic_lipschitz: Literal["spectral", "penalty", "clip"] = "spectral",
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(limit=limit, penalty_weight=penalty_weight, beta=beta)
        self.check_fraction(drop=drop, dropout=dropout or 0.0)
        labels = [m for m in modalities if m.role == "label"]
        if not labels:
            raise UsageError(
                "MDM predicts labels and the data have none; name one, such as --as score=normal:role=label."
            )
        seen = [self.modality(name) for name in self.encoded]
        # of a step, without the number that says whether it exists
        sizes = {
            m.name: m.input_size // m.shape[0] - 1 if m.sequence else m.input_size for m in (m.alone for m in seen)
        }
        chosen = network_options(
            fusion, configuration, width=width, model=model, pretrained=pretrained, beta=beta, dropout=dropout
        )
        words = text if text is not None else "text" if "text" in sizes else None
        self.limit, self.drop, self.unimodal = limit, drop, critic_on == "unimodal"
        self.beside = sum(m.input_size for m in self.covariates)  # columns of conditions, at every step
        self.fusion = fusion_class(fusion)({n: size + self.beside for n, size in sizes.items()}, text=words, **chosen)
        if self.beside and self.fusion.reads_pieces:
            raise UsageError(f"MDM: {fusion} reads word pieces and takes no conditions; choose another fusion.")
        if self.beside and self.unimodal and penalty != "none":  # the critic would compare the conditions of two rows
            raise UsageError("MDM: critic_on=unimodal takes no conditions; set critic_on=fused, or leave them out.")
        check_fits(fusion, self.fusion, {m.name: m for m in seen})
        self.decoders = nn.ModuleDict({m.name: nn.Linear(self.fusion.d + self.beside, m.output_size) for m in labels})
        self.weights = {m.name: 1.0 for m in labels}
        self.shuffle = Shuffle(len(seen))
        self.bound: TotalCorrelation | None = None
        if penalty != "none":
            if len(seen) < 2:
                raise UsageError(f"MDM: penalty={penalty} needs two modalities, and there is one; leave it out.")
            if self.unimodal and not isinstance(self.fusion, EmbeddingNetwork):
                raise UsageError(f"MDM: {fusion} has no vector of each modality alone; set critic_on=fused.")
            vectors = list(self.fusion.widths.values()) if self.unimodal else [self.fusion.d]
            self.bound = TotalCorrelation(
                vectors, method=penalty, name=f"tc.{penalty}", weight=penalty_weight, lr=critic_lr, steps=critic_steps,
                flags=len(seen), width=critic_width, layers=critic_layers, dropout=critic_dropout,
                sigmoid=critic_sigmoid, lipschitz=critic_lipschitz,
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
        batch = self.with_less(batch) if self.training and self.drop else batch
        known = batch.seen.any(-1)
        batch = replace(batch, active=known if batch.active is None else known & batch.active)
        if self.bound is None:
            return nll(trace(self, batch), self.weights)
        code, joint, product = self.told_apart(batch)

        def guide(batch: Batch) -> None:
            with batch.plates():
                pyro.sample("z", Delta(code, event_dim=1))

        terms = nll(trace(self, batch, guide), self.weights)
        return terms | self.bound.terms(joint, product, batch.seen, has_two(batch))

    def with_less(self, batch: Batch) -> Batch:
        """The batch in which some of the modalities of a row are missing, but never its last."""
        seen = batch.seen
        kept = seen & (torch.rand(seen.shape, device=seen.device) >= self.drop)
        kept = torch.where(kept.any(-1, keepdim=True), kept, seen)
        less = {name: kept[..., i] for i, name in enumerate(self.encoded)}
        return replace(batch, observed={**batch.observed, **less}, seen=kept)

    def told_apart(self, batch: Batch) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Z, (B, d), and what the critic is to tell apart: vectors of rows, and of rows put together."""
        source = self.shuffle(batch.seen)
        if self.unimodal:
            code, embeddings = self.fusion.fuse_embedded(*self.steps(batch))
            joint = [embeddings[name] for name in self.encoded]
            return code, joint, [h.index_select(0, rows) for h, rows in zip(joint, source)]
        both = self.code(in_one(batch, shuffled(batch, self.encoded, source)))  # one pass, which is faster than two
        code, other = both.split(len(batch))
        return code, [code], [other]

    def dependence_scores(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor] | None:
        """The critic's output; None without a penalty."""
        if self.bound is None:
            return None
        _, joint, product = self.told_apart(batch)
        return *self.bound.scores(joint, product, batch.seen), has_two(batch)

    def code(self, batch: Batch) -> Tensor:
        """Z, (B, d)."""
        found: Tensor = self.fusion(*self.steps(batch))
        return found

    def steps(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the fusion network takes: features, (B, T, F), and which steps exist, (B, T), of each modality."""
        features, steps = {}, {}
        for name in self.encoded:
            m = self.modality(name)
            x, exists = batch.steps(m)
            standardised = self.limit and m.scaling.transform == "standardise"
            x = x.clamp(-self.limit, self.limit) if standardised else x
            if self.beside:
                x = torch.cat([x, batch.beside(self.covariates).unsqueeze(1).expand(-1, x.shape[1], -1)], -1)
            features[name] = x
            steps[name] = exists & batch.sees(name).unsqueeze(-1)
        return features, steps


def has_two(batch: Batch) -> Tensor:
    """(B,) bool, whether two modalities of a row are seen: of one alone there is no dependence to tell."""
    return batch.seen.sum(-1) >= 2


def check_fits(name: str, network: FusionNetwork, seen: Mapping[str, Modality]) -> None:
    """Refuse data that a fusion network cannot read.

    Raises:
        UsageError: unequal steps for a network that reads all modalities together, or scaled word pieces.
    """
    steps = {n: m.shape[0] if m.sequence else 1 for n, m in seen.items()}
    if network.aligned and len(set(steps.values())) > 1:
        listed = ", ".join(f"{n} {number}" for n, number in steps.items())
        raise UsageError(
            f"MDM: {name} reads all modalities step by step together, and the data have other numbers of steps "
            f"({listed}); align them, or set fusion=lf-lstm."
        )
    if network.reads_pieces and (scaled := seen[network.text].scaling.transform) != "none":
        raise UsageError(
            f"MDM: {name} reads the codes of word pieces, and {network.text} comes as {scaled!r}; keep them as they "
            f"are: --as {network.text}=normal:transform=none."
        )


def network_options(
    fusion: str,
    configuration: str,
    *,
    width: int | None,
    model: str,
    pretrained: bool,
    beta: float | None,
    dropout: float | None,
) -> dict[str, object]:
    """The keyword arguments of a fusion network, of which one that is left as it is is not passed on.

    Raises:
        UsageError: the network has no such configuration, or no such option.
    """
    network = fusion_class(fusion)
    known = network.presets
    if configuration and configuration not in known:
        there = f"; there are {', '.join(known)}." if known else ", and it has none; leave it out."
        close = suggest(configuration, list(known))
        raise UsageError(f"MDM: no configuration {configuration!r} of {fusion}{there}{close}")
    own = {
        option: (name, value)
        for option, name, value, left in (
            ("width", "d", width, None), ("model", "model", model, ""), ("pretrained", "pretrained", pretrained, True),
            ("beta", "beta", beta, None), ("dropout", "dropout", dropout, None),
        )
        if value != left
    }  # fmt: skip
    taken = inspect.signature(network).parameters
    if foreign := [option for option, (name, _) in own.items() if name not in taken]:
        raise UsageError(f"MDM: {fusion} has no {', '.join(foreign)} to choose; leave it out.")
    return (dict(known[configuration]) if configuration else {}) | dict(own.values())
