"""DCCA: codes of the views of a row that are as correlated as they can be; linear CCA, DCCAE and MAXVAR among them.

Source: Andrew, Arora, Bilmes & Livescu 2013, "Deep canonical correlation analysis" (ICML); DCCAE: Wang, Arora, Livescu
& Bilmes 2015, "On deep multi-view representation learning" (ICML), eq. 5; several views: Benton et al. 2019,
arXiv:1702.02519. Differs: any view may be missing from any row; the ridge is relative to the variance of a view;
decoders have likelihoods; labels are read off the codes by a linear probe, which is fitted afterwards and teaches the
codes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from torch import Tensor, nn

from mmppl import (
    Batch,
    CanonicalDirections,
    CanonicalFit,
    DeltaOrPrior,
    Group,
    Modality,
    NetworkOptions,
    Program,
    Stage,
    Terms,
    Traces,
    UsageError,
    ViewMoments,
    canonical_correlation,
    canonical_directions,
    code_correlation,
    decoders,
    encoders,
    fit_lift,
    fit_probe,
    fit_projections,
    mlp,
    nll,
    observe,
    pool_codes,
    pooled_sets,
    set_features,
    whole_batch,
)

REMEMBERED = 0.9  # of the running covariances after a batch
PER_DIMENSION = 10  # rows that a batch should have
LISTED = 10  # correlations
FAR = 0.01  # above 1


class DCCA(Program):
    """z_m = W_m f_m(x_m) + b_m for each view m, a point; z of a row is the mean of those of the views that it has.

    The networks f_m maximise Σ_j ρ_j, the sum of the canonical correlations of their outputs (for more than two views
    the problem MAXVAR, and ρ_j is the mean over pairs), minus `reconstruct` times what a decoder loses of x_m from
    f_m(x_m). Covariances are those of a batch, which should have ten rows for each dimension; those that run over
    several batches lag behind the networks. Then W_m is found from all training rows, in closed form: the components of
    z are ordered by correlation and, given one of two views, have variance 1. With layers=0 and reconstruct=0 there are
    no networks, and all is in closed form (linear CCA). All steps are taken: the number that serves held-out rows best
    is not looked for, but metrics.jsonl has their correlation.

    A row that lacks a view counts for the covariance of those that it has. Codes have no density: there is neither
    evidence nor importance sampling. A row of which nothing is seen has the prior N(0, I). Other views are predicted
    where `reconstruct` gives decoders, and labels by a probe given any views: linear in z, with weights of its own for
    each set of views. Conditions are not taken: views that both see them would agree on them.

    Args:
        modalities: the schema of the data: two views at least.
        latent_dim: D, the size of z and of the output of each network.
        options: options of the networks, whose fields are hyper-parameters like the others (`layers=0`: linear CCA).
        reconstruct: λ of DCCAE, the weight of the negative log-likelihood of each view given its own outputs; of a
            Normal whose noise is learned it is the squared error, and the noise is calibrated after the fit. 0: no
            decoders.
        reg: r of the ridges, r times the mean variance of a view.
        weight_decay: of the networks, by AdamW; 0: that of a linear path beside them, where there is one.
        ridge: λ of the penalty λ/2 ‖V‖² on the probe, in nats of all rows.
    """

    default_data = "digits-two-view"
    canonical = True
    training = dict(steps=1_000, batch_size=500, lr=1e-3)
    presets = {"linear": dict(layers=0)}

    mean: Tensor
    covariance: Tensor
    count: Tensor
    correlations: Tensor

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 10,
        options: NetworkOptions = NetworkOptions(),
        reconstruct: float = 0.0,
        reg: float = 1e-3,
        weight_decay: float = 0.0,
        ridge: float = 1.0,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(reconstruct=reconstruct, reg=reg, weight_decay=weight_decay, ridge=ridge)
        if latent_dim < 1:
            raise UsageError(f"DCCA: latent_dim={latent_dim} has to be at least 1.")
        if len(self.encoded) < 2:
            raise UsageError(
                f"DCCA: {', '.join(self.encoded) or 'no modality'}: correlation needs two views; give another one, or "
                "choose another program."
            )
        self.latent_dim, self.reg, self.ridge = latent_dim, reg, ridge
        self.reconstruct, self.weight_decay, self.most_rows = reconstruct, weight_decay, 0
        self.views = tuple(sorted(self.encoded))  # whatever is computed from all of them does not know their order
        seen = [self.modality(name) for name in self.encoded]
        self.linear = options.layers == 0 and not reconstruct and options.networks in ("auto", "mlp")
        self.encoders = nn.ModuleDict() if self.linear else encoders(seen, latent_dim, options)
        widths = {m.name: m.input_size if self.linear else latent_dim for m in seen}
        self.projections = nn.ModuleDict({name: mlp(size, 1, latent_dim, layers=0) for name, size in widths.items()})
        own = decoders(seen, latent_dim, options) if reconstruct else nn.ModuleDict()
        lifted = {name: nn.Sequential(mlp(latent_dim, 1, latent_dim, layers=0), net) for name, net in own.items()}
        self.decoders = nn.ModuleDict(lifted)
        features = (len(seen) + 1) * latent_dim + len(seen)
        labels = [m for m in self.modalities if m.role == "label"]
        self.probes = nn.ModuleDict({m.name: mlp(features, 1, m.output_size, layers=0) for m in labels})
        columns = 0 if self.linear else len(seen) * latent_dim
        self.register_buffer("mean", torch.zeros(columns, len(seen), dtype=torch.float64))
        self.register_buffer("covariance", torch.zeros(columns, columns, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(len(seen), len(seen), dtype=torch.float64))
        self.register_buffer("correlations", torch.zeros(latent_dim, dtype=torch.float64))
        self._notes: list[str] = []

    def targets(self) -> tuple[str, ...]:
        """The labels, and the views that have decoders."""
        return tuple(m.name for m in self.modalities if m.name in self.probes or m.name in self.decoders)

    def parameter_groups(self) -> Sequence[Group]:
        """What is found in closed form; the networks are the group "program", or with a weight decay "networks"."""
        closed = [*self.projections.parameters(), *self.probes.parameters()]
        nets = [cast(nn.Sequential, net) for net in self.decoders.values()]
        closed += [p for net in nets for p in net[0].parameters()]
        for name in self.probes:
            closed += self._learned(name)
        groups = [Group("closed", closed)]
        if self.weight_decay and not self.linear:
            own = [*self.encoders.parameters(), *(p for net in nets for p in net[1].parameters())]
            how = dict(weight_decay=self.weight_decay)
            groups.append(Group("networks", own, optimiser="adamw", options=how))
        return groups

    def stages(self) -> Sequence[Stage]:
        """The networks, and then what is found from all rows: of linear CCA everything."""
        last = Stage("projections", epochs=1, groups=("closed",), update=find_projections)
        moving = ("networks" if self.weight_decay else "program",)
        return [last] if self.linear else [Stage("networks", groups=moving), last]

    def _learned(self, name: str) -> list[nn.Parameter]:
        """The parameters of the likelihood of a label."""
        held = self.likelihood_parameters
        return list(held[name].parameters()) if name in held else []

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z)), y ~ likelihood_y(V z + v) with V and v of the views that are
        seen.
        """
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            for m in self.each_modality():
                if m.name in self.probes:
                    observe(m, self.probes[m.name], set_features(z, self._shown(batch, z)), batch)
                elif m.name in self.decoders:
                    observe(m, self.decoders[m.name], z, batch)

    def guide(self, batch: Batch) -> None:
        """δ(z − code)."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", Delta(code, event_dim=1))

    def query_guide(self, batch: Batch) -> None:
        """The same, but the prior where nothing is seen."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", DeltaOrPrior(code, batch.seen.any(-1), self.standard_normal(self.latent_dim)))

    def objective(self, batch: Batch) -> Terms:
        """Σ_j ρ_j, which is maximised, and what decoders lose. In evaluation it is the correlation of the codes."""
        outputs, has = self.outputs(batch), self._counted(batch)
        if self.training and not self.linear:
            correlation = self._whitened(outputs, has, len(batch))
        else:
            correlation = code_correlation(self._codes(outputs), has).sum()
        terms = Terms({"corr.z": (correlation.to(self.progress.dtype), -1.0)})
        return terms | self._lost(batch, outputs) if self.reconstruct else terms

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """View → (B, d_m), the output of its network, or of linear CCA its columns."""
        found = {name: batch.input(self.modality(name)) for name in self.views}
        return found if self.linear else {name: self.encoders[name](x) for name, x in found.items()}

    def code(self, batch: Batch) -> Tensor:
        """(..., B, D), the mean of the codes of the views that are seen; 0 where none is."""
        found = self._codes(self.outputs(batch))
        return pool_codes(found, found.new_zeros(found.shape[:2]), self._seen(batch))

    def _codes(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """(M, B, D), the code of each view; while networks are learned, by the running covariances."""
        if self.stage != "networks":
            return torch.stack([self.projections[name](x) for name, x in outputs.items()])
        running = self._running()
        own = zip(outputs.values(), running.own_mean(), self._directions(running).projections())
        return torch.stack([(h.double() - mean) @ w.T for h, mean, w in own]).to(self.progress.dtype)

    def _whitened(self, outputs: Mapping[str, Tensor], has: Tensor, rows: int) -> Tensor:
        """Σ_j ρ_j of a batch, with its gradient. Its covariances come into the running ones, by which the codes of rows
        that are only looked at are found."""
        self._check_rows(rows)
        moments = ViewMoments.of(list(outputs.values()), has)
        now = replace(moments, **{n: getattr(moments, n).detach() for n in ("count", "mean", "covariance")})
        running = self._running().mixed(now, REMEMBERED)
        with torch.no_grad():
            for name in ("mean", "covariance", "count"):
                getattr(self, name).copy_(getattr(running, name))
        return canonical_correlation(moments, self._directions(now), self.reg)

    def _check_rows(self, rows: int) -> None:
        """Refuse batches in which everything is correlated; the last of an epoch may be small."""
        self.most_rows = max(self.most_rows, rows)
        if self.stage == "networks" and self.most_rows <= self.latent_dim:
            raise UsageError(
                f"DCCA: batches of {self.most_rows} rows for latent_dim={self.latent_dim}, in which everything is "
                f"correlated; take a batch_size of {PER_DIMENSION * self.latent_dim} or more, or a smaller latent_dim."
            )

    def _lost(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Terms:
        """−ln p of each view given its own outputs, in nats."""

        def own() -> None:
            with batch.plates():
                for name in self.views:
                    m, network = self.modality(name), cast(nn.Sequential, self.decoders[name])[1]
                    learned = m.likelihood == "normal" and hasattr(self.likelihood_parameters[name], "log_scale")
                    half = self.progress.new_full((), 0.5**0.5) if learned else None  # ‖x − x̂‖² and a constant
                    observe(m, network, outputs[name], batch, half)

        traces = Traces(poutine.trace(own).get_trace(), None, batch)
        return nll(traces, dict.fromkeys(self.views, self.reconstruct))

    def _running(self) -> ViewMoments:
        return ViewMoments((self.latent_dim,) * len(self.views), self.count, self.mean, self.covariance)

    def _directions(self, moments: ViewMoments) -> CanonicalDirections:
        return canonical_directions(moments, self.latent_dim, self.reg)

    def _seen(self, batch: Batch) -> Tensor:
        """(..., B, M) bool, in the order of `views`."""
        return torch.stack([batch.sees(name) for name in self.views], -1)

    def _shown(self, batch: Batch, z: Tensor) -> Tensor:
        seen = self._seen(batch)
        return seen.expand(*z.shape[:-1], seen.shape[-1])

    def _counted(self, batch: Batch) -> Tensor:
        """The same, in rows that count."""
        seen = self._seen(batch)
        return seen if batch.active is None else seen & batch.active.unsqueeze(-1)

    def notes(self) -> Sequence[str]:
        """The correlations of the training rows, and what makes them say little."""
        return self._notes


def find_projections(program: Any, batches: Iterable[Batch]) -> None:
    """The last stage: W_m and b_m, what decoders read of z, and the probes of labels, from all rows."""
    program.eval()  # without dropout

    def parts() -> Iterator[tuple[list[Tensor], Tensor]]:
        return ((list(program.outputs(batch).values()), program._counted(batch)) for batch in batches)

    found = fit_projections(parts, program.latent_dim, program.reg)
    for name, weight, bias in zip(program.views, found.weights, found.biases):
        program.projections[name][0].weight.copy_(weight)
        program.projections[name][0].bias.copy_(bias)
    program.correlations.copy_(found.correlations)
    program._notes = notes_of(program, found)
    if program.probes or program.decoders:
        find_readers(program, batches)
    program.train()


def find_readers(program: Any, batches: Iterable[Batch]) -> None:
    """The probes of labels, and what decoders read of z, given each set of views."""
    codes, outputs, light = [], [], []
    for batch in batches:
        own = program.outputs(batch)
        codes.append(program._codes(own))
        outputs.append(own if program.decoders else {})
        labels = {name: batch.values[name] for name in program.probes}
        present = {name: there for name, there in batch.present.items() if name in program.probes}
        light.append(replace(batch, values=labels, present=present))  # without the values of views, which are large
    rows = whole_batch(light)
    sets = pooled_sets(dict(zip(program.views, torch.cat(codes, 1))), rows.observed)
    for name in program.decoders:
        own = torch.cat([part[name] for part in outputs])
        fit_lift(program.decoders[name][0][0], own, rows.observed[name], sets)
    for name, probe in program.probes.items():
        fit_probe(program.modality(name), probe[0], program._learned(name), rows, sets, program.ridge)


def notes_of(program: Any, found: CanonicalFit) -> list[str]:
    """The correlations of the training rows, and what makes them say little."""
    rho = found.correlations.tolist()
    some = [r for r in rho if r > 0]
    listed = ", ".join(f"{r:.3f}" for r in some[:LISTED]) + (", ..." if len(some) > LISTED else "")
    lines = [f"correlation of the training rows: {sum(rho):.4g} of {len(rho)} ({listed})"]
    if len(some) < len(rho):
        lines.append(f"{len(rho) - len(some)} of {len(rho)} components of z are 0: the views share no more.")
    columns = [weight.shape[-1] for weight in found.weights]
    for name, size, rows in zip(program.views, columns, found.count.diagonal().tolist()):
        if size >= rows:
            lines.append(
                f"{name}: {size:,} columns and {rows:,.0f} training rows, which so are correlated with anything; only "
                f"the ridge (reg={program.reg:g}) holds that back. Look at the correlation of test rows, and raise reg."
            )
    if rho[0] > 1 + FAR:
        lines.append(
            f"a correlation of {rho[0]:.3g}: covariances are of other rows than variances, as views are missing, and "
            "these are too few; raise reg."
        )
    if 0 < program.most_rows < PER_DIMENSION * program.latent_dim:
        lines.append(
            f"batches of {program.most_rows} rows whiten {program.latent_dim} dimensions badly; take a batch_size of "
            f"{PER_DIMENSION * program.latent_dim}, or a smaller latent_dim."
        )
    return lines
