"""IMA: one code per row, the mean of what each modality encodes, weighted by how far that modality is to be trusted.

Source: "Importance-based Multimodal Autoencoder" (anonymous, submission to ICLR 2021, OpenReview 4jXnFYaDOuD); no code
of the authors is known. Differs: importances are not normalised, and the code is their normalised ratio (sec. 5.3, not
eq. 1); losses are means over rows, not sums; C_j is scaled to 1 for each modality, as the lambdas are not printed and
with one for all the local KL wins where codes vary little; importances begin where codes covary least, since there are
minima that tell classes apart; any modality may be missing; labels may be decoded, and by default teach codes nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pyro
import torch
from pyro.distributions import Delta
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mmppl import (
    Batch,
    DeltaOrPrior,
    Gaussian,
    Group,
    Modality,
    NetworkOptions,
    Program,
    Stage,
    Suspects,
    Terms,
    UsageError,
    bernoulli_kl,
    cross_covariance,
    cross_hsic,
    decoders,
    encoders,
    likelihood_weights,
    nll,
    observe,
    pool_codes,
    trace,
)

MEMORY = 0.05  # of the mean importances that are told after a fit, for those of the batch at hand
LR = 1e-3  # of the importance networks; faster ones end in y = 1 now and then
ROOM, LARGEST = 2, 50  # numbers of a modality for each of its code by default, and the largest code
FIRST = 0.2  # share of the steps in which importances begin
EDGE = 1e-6  # of rho, whose log-odds float32 can still tell
FAR = 10  # times closer to 1 than rho: then no row is told from the others
CLEAR = 0.88  # of the variance of yes and no: on digits .95 with noise, .8 without any; below .5 where it is missed
PAPER: dict[str, Any] = dict(begin="prior", epochs=40, batch_size=512, lr=1e-3, schedule="constant")  # not printed


class IMA(Program):
    """p(z) Π_m p(x_m | z), p(z) = N(0, ½ I), with the code z = Σ_m y_m u_m / Σ_m y_m over the modalities that are seen,
    u_m = encoder_m(x_m) and the importance y_m = σ(importance_m(x_m)).

    In the stage "autoencoder" encoders and decoders minimise Σ_m w_m nll_m + glob ‖z‖² + align Σ_m ‖z − u_m‖², at first
    with y = 1. In the stage "importance" the importance networks alone minimise Σ_m [corr_m ‖C_m‖² + local
    KL(Bern(ȳ_m) ‖ Bern(rho_m))], C_m the covariance of z and u_m in the rows of a batch, weighted by 1 − y_m: what is
    not trusted has to be unrelated to the rest, and is to be a share 1 − rho_m. In the stage "scale" between them
    nothing moves. ȳ_m and C_m are those of the rows that have the modality.

    The code has no density: there is neither evidence nor importance sampling. A row of which nothing is seen has the
    prior. y = 1 in all rows is a false minimum, whose price is −ln rho; a fit tells where it ended there.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z; None: half the numbers of the smallest modality, from 2 to 50. Noise that a
            code has room for is not told from what belongs to a row.
        options: options of all networks, whose fields are hyper-parameters like the others (`hidden=500,100`). They are
            plain by default: importances beside a linear path, or with LayerNorm, learn several times more slowly.
        rho: prior mean of the importances, above 0 and below 1; or one for each modality in their order, labels left
            out.
        corr: weight of ‖C‖², or one for each modality; None: 1 over its value at the beginning of the stage, on the
            training rows and with equal weights.
        local: weight of the KL of the mean importances, in nats.
        align: weight of ‖z − u‖².
        glob: weight of ‖z‖²; 1 is −ln p(z).
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
        supervised: whether labels teach the codes; else their decoders read what is learned without them.
        weighted: False: y = 1 for ever, and there is one stage.
        alternations: how often both stages follow each other; from the second time on, codes are made with the
            importances that were learned.
        importance_share: share of the epochs that importances are learned in.
        dependence: what ‖C‖² is: of the "covariance", which is blind to dependence that is not linear, or "hsic".
        through_z: whether z in C moves with y; else the importances are the weights alone.
        begin: where importances begin: low for the "suspects", the group of codes that covaries least with z
            (`mmppl.Suspects`), which finds the best of several minima; or near the "prior" rho in all rows, as
            in the paper.
        pooling: how a query pools the codes: by "importance", or their plain "mean", as with y = 1.
    """

    default_data = "digits-noise"
    training = dict(steps=1_200, batch_size=512, lr=2e-3, schedule="constant")
    quantities, query_options, takes_covariates = ("importance",), ("pooling",), True
    presets = {
        # both in [0, 1], Bernoulli; the text argues for a rho near .9 (figure 6: .8 and .3, which was not repeated)
        "paper-digits": dict(latent_dim=50, hidden=(500, 100), rho=0.9, **PAPER),
        # words and acoustic vectors; squared errors: --as word=normal:scale=0.7071 --as acoustic=normal:scale=0.7071
        "paper-iemocap": dict(latent_dim=100, hidden=100, rho=(0.03, 0.7), **PAPER),
    }

    corr_weight: Tensor
    mean_importance: Tensor
    mean_square: Tensor
    rho: Tensor

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int | None = None,
        options: NetworkOptions = NetworkOptions(hidden=100, activation="relu", norm=False, linear=False),
        rho: float | tuple[float, ...] = 0.9,
        corr: float | tuple[float, ...] | None = None,
        local: float = 1.0,
        align: float = 1.0,
        glob: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
        supervised: bool = False,
        weighted: bool = True,
        alternations: int = 1,
        importance_share: float = 0.25,
        dependence: Literal["covariance", "hsic"] = "covariance",
        through_z: bool = False,
        begin: Literal["suspects", "prior"] = "suspects",
        pooling: Literal["importance", "mean"] = "importance",
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(local=local, align=align, glob=glob, label_weight=label_weight)
        priors = self.of_each("rho", rho)
        if not all(EDGE <= prior <= 1 - EDGE for prior in priors):
            raise UsageError(f"IMA: rho={rho} is not above 0 and below 1, by {EDGE:g} at least.")
        if alternations < 1 or not 0 < importance_share < 1:
            raise UsageError(
                f"IMA: alternations={alternations}, importance_share={importance_share}: at least one alternation, and "
                "a share above 0 and below 1."
            )
        if latent_dim is None:
            smallest = min(self.modality(n).alone.input_size for n in self.encoded)
            latent_dim = min(max(smallest // ROOM, 2), LARGEST)
        self.latent_dim, self.local, self.align, self.glob = latent_dim, local, align, glob
        self.supervised, self.weighted, self.alternations = supervised, weighted, alternations
        self.measured, self.importance_share, self.through_z = corr is None, importance_share, through_z
        self.pooling: Literal["importance", "mean"] = pooling
        self.dependence = cross_covariance if dependence == "covariance" else cross_hsic
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        seen = [self.modality(n) for n in self.encoded]
        self.encoders = encoders(seen, latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)
        self.suspects = Suspects(len(seen), latent_dim) if weighted and begin == "suspects" else None
        if weighted:
            self.importances = encoders(seen, 1, options)
            for part in self.importances.modules():
                if isinstance(part, nn.Linear):  # PyTorch's own small weights: importances begin near rho in all rows
                    part.reset_parameters()
            self.register_buffer("rho", torch.tensor(priors))
            self.register_buffer("corr_weight", torch.tensor(self.of_each("corr", 1.0 if corr is None else corr)))
            self.register_buffer("mean_importance", torch.tensor(priors))
            self.register_buffer("mean_square", torch.full((len(priors),), -1.0))  # of no batch yet

    def of_each(self, name: str, value: float | tuple[float, ...]) -> list[float]:
        """A number for each modality that is encoded, of a hyper-parameter that is one number, or one for each."""
        each = [float(value)] * len(self.encoded) if isinstance(value, int | float) else [float(v) for v in value]
        if len(each) != len(self.encoded) or any(v < 0 for v in each):
            raise UsageError(f"IMA: {name}={value}: expected one number ≥ 0, or one for each of {self.encoded}.")
        return each

    def parameter_groups(self) -> Sequence[Group]:
        """The importance networks; all else is the group "program"."""
        return [Group("importance", self.importances.parameters(), lr=LR)] if self.weighted else []

    def stages(self) -> Sequence[Stage]:
        """Both stages in turn, and before the second the scales of C."""
        names = [m.name for m in self.modalities]
        own = ("global.z", *(f"nll.{n}" for n in names), *(f"align.{n}" for n in self.encoded))
        if not self.weighted:
            return [Stage("autoencoder", terms=own)]
        begin, second = (
            dict[str, Any](groups=("importance",), terms=tuple(f"{term}.{n}" for n in self.encoded for term in terms))
            for terms in (("begin",), ("corr", "local"))
        )
        found = []
        for time in range(self.alternations):
            again = f" {time + 1}" if time else ""
            found.append(Stage(f"autoencoder{again}", 1 - self.importance_share, groups=("program",), terms=own))
            if self.measured or self.suspects is not None:
                found.append(Stage(f"scale{again}", epochs=1, update=scale, **second))
            first = 0.0 if time or self.suspects is None else FIRST
            if first:
                found.append(Stage("suspects", first * self.importance_share, **begin))
            found.append(Stage(f"importance{again}", (1 - first) * self.importance_share, **second))
        return found

    def model(self, batch: Batch) -> None:
        """z ~ N(0, ½ I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.prior())
            for m in self.each_modality():
                taught = self.supervised or m.role != "label"
                observe(m, self.decoders[m.name], z if taught else z.detach(), batch, self.noise(m))

    def guide(self, batch: Batch) -> None:
        """δ(z − code); the code of a row of which nothing is seen is 0."""
        code = pool_codes(self.codes(batch), self.log_importances(batch), batch.seen)
        with batch.plates():
            pyro.sample("z", Delta(code, event_dim=1))

    def query_guide(self, batch: Batch) -> None:
        """The same, but the prior where nothing is seen."""
        log_y = self.log_importances(batch)
        log_y = log_y if self.pooling == "importance" else torch.zeros_like(log_y)
        code = pool_codes(self.codes(batch), log_y, batch.seen)
        with batch.plates():
            pyro.sample("z", DeltaOrPrior(code, batch.seen.any(-1), self.prior()))

    def objective(self, batch: Batch) -> Terms:
        """The terms of both stages; while importances are learned theirs alone, for decoding takes a third of the time.
        Importances are constant in the terms of the first, codes in those of the second.
        """
        has = counted(batch)
        batch = replace(batch, active=has.any(0))
        u, log_y = self.codes(batch), self.log_importances(batch)
        z = pool_codes(u, log_y.detach(), batch.seen)
        terms = self.importance_terms(z, u, log_y, has) if self.weighted else Terms()
        if self.stage and not self.stage.startswith("autoencoder"):
            return terms

        def guide(batch: Batch) -> None:
            with batch.plates():
                pyro.sample("z", Delta(z, event_dim=1))

        own = nll(trace(self, batch, guide), self.weights)
        own["global.z"] = (torch.where(has.any(0), z.square().sum(-1), 0.0).mean(), self.glob)
        apart = torch.where(has, (z - u).square().sum(-1), 0.0).mean(-1)
        return own | Terms({f"align.{n}": (value, self.align) for n, value in zip(self.encoded, apart)}) | terms

    def importance_terms(self, z: Tensor, u: Tensor, log_y: Tensor, has: Tensor) -> Terms:
        """`corr.MODALITY`, `local.MODALITY` and `begin.MODALITY`, from the codes z (B, D) and u (M, B, D), ln y (M, B),
        and which rows have a modality (M, B).
        """
        if self.stage == "autoencoder":  # y = 1: nothing is left to covary
            corr, local = torch.zeros_like(self.rho), -self.rho.log()
        else:
            if self.through_z:
                z = pool_codes(u.detach(), log_y, has.mT)
            corr = self.dependence(z if self.through_z else z.detach(), u.detach(), -torch.expm1(log_y), observed=has)
            mean, some = mean_of(log_y.exp(), has), has.any(-1)
            local = torch.where(some, bernoulli_kl(mean, self.rho), 0.0)
            if self.training and not self.stage.startswith("suspects"):
                with torch.no_grad():
                    share, square = torch.where(self.mean_square < 0, 1.0, MEMORY), mean_of((2 * log_y).exp(), has)
                    for kept, now in ((self.mean_importance, mean), (self.mean_square, square)):
                        kept.lerp_(torch.where(some, now, kept), share)
        found: dict[str, Any] = {f"corr.{n}": (corr[i], self.corr_weight[i]) for i, n in enumerate(self.encoded)}
        found |= {f"local.{n}": (local[i], self.local) for i, n in enumerate(self.encoded)}
        begin = torch.zeros_like(self.rho)
        if self.suspects is not None and self.stage.startswith("suspects"):
            begin = self.suspects.cross_entropy(u.detach(), log_y, has)
        return Terms({**found, **{f"begin.{n}": (begin[i], 1.0) for i, n in enumerate(self.encoded)}})

    def prior(self) -> Gaussian:
        """N(0, ½ I), of which −ln p(z) is ‖z‖² and a constant."""
        zero = self.progress.new_zeros(self.latent_dim)
        return Gaussian(zero, zero + math.log(0.5))

    def noise(self, m: Modality) -> Tensor | None:
        """The standard deviation of a normal modality while codes are learned, unless it is given or predicted: √½, of
        which −ln p is the squared error and a constant. Codes have no noise, so noise that is learned with them
        vanishes, and with it whatever keeps the codes together. It keeps its first value and is calibrated after the
        fit.
        """
        held = self.likelihood_parameters
        learned = m.likelihood == "normal" and m.name in held and hasattr(held[m.name], "log_scale")
        return self.progress.new_full((), 0.5**0.5) if learned and self.stage.startswith("autoencoder") else None

    def codes(self, batch: Batch) -> Tensor:
        """u, (M, B, D): the code of each modality alone."""
        return torch.stack([self.encoders[n](batch.input(self.modality(n))) for n in self.encoded])

    def log_importances(self, batch: Batch) -> Tensor:
        """ln y, (M, B). The networks' outputs are the log-odds beside those of rho, where importances begin."""
        if not self.weighted or self.stage == "autoencoder":
            return self.progress.new_zeros(len(self.encoded), len(batch))
        found = [self.importances[n](batch.input(self.modality(n))).squeeze(-1) for n in self.encoded]
        return logsigmoid(torch.stack(found) + self.rho.logit().unsqueeze(-1))

    def quantity(self, name: str, batch: Batch) -> Mapping[str, Tensor]:
        """The importances y of what is seen, in (0, 1); 1 with weighted=False, and where a query pools by the mean."""
        y = self.log_importances(batch).exp().clamp_min(torch.finfo(torch.float32).tiny)  # positive where it is seen
        y = y if self.pooling == "importance" else torch.ones_like(y)
        return dict(zip(self.encoded, torch.where(batch.seen.mT, y, 0.0)))

    def notes(self) -> Sequence[str]:
        """The mean importances; which of them ended in the false minimum, and which vary much less than yes and no."""
        if not self.weighted:
            return []
        mean = self.mean_importance.double()
        lines = ["mean importance: " + ", ".join(f"{n} {y:.3f}" for n, y in zip(self.encoded, mean.tolist()))]
        stuck = FAR * (1 - mean) < 1 - self.rho.double()
        apart = (self.mean_square.double() - mean.square()) / (mean * (1 - mean))
        for name, is_stuck, share in zip(self.encoded, stuck.tolist(), apart.tolist()):
            if is_stuck:
                lines.append(
                    f"{name} is trusted in every row: its importances ended in the false minimum y = 1 and tell "
                    "nothing. Fit again with another seed, a larger batch, or a smaller lr or corr."
                )
            elif not share >= CLEAR:
                lines.append(
                    f"importances of {name} do not separate ({share:.0%} of the variance of a yes or no): read them as "
                    "a ranking at best. It may have no noise, or none that its codes tell apart."
                )
        return lines


def counted(batch: Batch) -> Tensor:
    """(M, B) bool: where a modality is seen, in rows that count."""
    return batch.seen.mT if batch.active is None else batch.seen.mT & batch.active


def mean_of(y: Tensor, has: Tensor) -> Tensor:
    """(M,) means over the rows that have a modality, of (M, B) numbers; 0 where none has."""
    return torch.where(has, y, 0.0).sum(-1) / has.sum(-1).clamp_min(1)


def scale(program: Any, batches: Iterable[Batch]) -> None:
    """Set each weight of ‖C‖² to 1 over its mean over the batches with equal importances (0 where it does not vary),
    unless weights are given, and find the suspects of each modality.
    """
    program.eval()  # without dropout
    total, rows = torch.zeros_like(program.corr_weight), torch.zeros_like(program.corr_weight)
    for batch in batches:
        has, u = counted(batch), program.codes(batch)
        equal = u.new_zeros(u.shape[:2])
        z = pool_codes(u, equal, batch.seen)
        total += has.sum(-1) * program.dependence(z, u, equal + 0.5, observed=has)
        rows += has.sum(-1)
        if program.suspects is not None:
            program.suspects.gather(z, u, has)
    if program.measured:
        program.corr_weight.copy_(torch.where(total > 0, rows / total, 0.0))
    if program.suspects is not None:
        program.suspects.find((1 - program.rho).tolist())
    program.train()
