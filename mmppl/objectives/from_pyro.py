"""A plain Pyro model and guide as a program: the program's parameters are what they learn, its modalities what they
observe.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide, AutoNormal
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import biject_to, constraints, transform_to

from ..base.random import off_the_ends
from ..core.batch import Batch
from ..core.program import Program
from ..core.terms import Terms
from ..errors import UsageError
from ..modalities.modality import Modality
from .elbo import elbo
from .traces import is_random

NODES, SHARES = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(32))


def from_pyro(
    model: Callable[[Batch], Any],
    guide: Callable[[Batch], Any],
    *,
    name: str = "",
    training: Mapping[str, Any] | None = None,
) -> type[Program]:
    """Make a program class from a plain Pyro model and guide, for `mmppl.fit` and everything after it.

    Both are functions or `PyroModule`s of a `Batch`. Rows are in `batch.plates()`. A site that has the name of a
    modality is that modality, observed with `batch.value(name)`, and is masked where a row lacks it. A modality without
    a site is something that the model conditions on. Networks belong in a `PyroModule`; `pyro.param` may stand
    anywhere. A query draws latents for every row, with axes (draws, rows) in front, so write `(x * w).sum(-1)` and not
    `x @ w`.

    Args:
        model: the generative story.
        guide: the variational distribution, reparametrised; or an `AutoNormal` of the model, for latents that all rows
            share (it knows nothing of the latents of new rows).
        name: name of the class; default: the model's.
        training: defaults of `fit` (epochs, batch_size, lr, ...).

    Returns:
        The class, which minimises the negative ELBO. Each of its programs has copies of both modules.

    Raises:
        UsageError: when a program is made, if the pair cannot be a program; the message says why.

    Example:
        >>> from mmppl import Modality
        >>> def model(batch):
        ...     with batch.plates():
        ...         z = pyro.sample("z", dist.Normal(0, 1))
        ...         pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1).to_event(1), obs=batch.value("x"))
        >>> def guide(batch):
        ...     loc = pyro.param("loc", torch.zeros(()))
        ...     with batch.plates():
        ...         pyro.sample("z", dist.Normal(loc, 1))
        >>> program = from_pyro(model, guide, name="Shared")([Modality("x", (3,), "normal", scale=1.0)])
        >>> type(program).__name__, len(list(program.parameters()))
        ('Shared', 1)
    """
    name = name or getattr(model, "__name__", type(model).__name__)
    home = getattr(model, "__module__", None) or __name__
    body = {"__doc__": model.__doc__, "__module__": home, "pair": (model, guide), "training": dict(training or {})}
    return type(name, (PyroProgram,), body)


class PyroProgram(Program):
    """The base class of what `from_pyro` makes. Its sites are Pyro's own, which would score steps that do not exist."""

    takes_elements = False
    takes_gaps = False
    pair: Any

    def __init__(self, modalities: Sequence[Modality]) -> None:
        super().__init__(modalities)
        described = getattr(self.pair[1], "_model", None)  # an AutoGuide's model, which is lost when it is copied,
        self.story, self.answer = copy.deepcopy(self.pair)
        if isinstance(self.answer, AutoGuide):
            self.answer._model = self.pair[1]._model = described  # by the original, too; only its sites are looked at
        self.learned = nn.ParameterList()
        self.names: list[str] = []
        if isinstance(self.answer, AutoGuide) and not isinstance(self.answer, AutoNormal):
            raise self._refused(f"of Pyro's own guides only AutoNormal; {type(self.answer).__name__} is another")
        self.conditions = ()
        batch = _example(modalities, self.encoded)
        with pyro.validation_enabled(False):
            with pyro.get_param_store().scope():  # what modules make at their first call
                self.answer(batch)
                self.story(batch)
            found = poutine.trace(self.guide).get_trace(batch)
            nodes = poutine.trace(poutine.replay(self.model, trace=found)).get_trace(batch).nodes
        sites = {n for n, site in nodes.items() if is_random(site) and site["is_observed"]}
        self.conditions = tuple(m.name for m in modalities if m.name not in sites)
        self._check(sites, found.nodes)

    def _check(self, sites: set[str], guide: Mapping[str, Any]) -> None:
        names = [m.name for m in self.modalities]
        if not sites & set(names):
            raise self._refused(f"no observed site is called as a modality ({', '.join(names)})")
        for site in guide.values():
            if is_random(site) and not site["fn"].has_rsample:
                raise self._refused(f"{site['name']} has no reparametrised draws; train it with pyro.infer.SVI")
        if isinstance(self.answer, AutoNormal):
            for name, site in self.answer.prototype_trace.iter_stochastic_nodes():
                if any(frame.vectorized for frame in site["cond_indep_stack"]):
                    raise self._refused(f"AutoNormal knows {name} of the rows that it has seen only; write its guide")
                if _per_number(site["fn"].support).domain.event_dim:
                    raise self._refused(f"AutoNormal of {name}, whose numbers hang together; write its guide")

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"{type(self).__name__} (from_pyro): {why}.")

    @contextmanager
    def _local(self) -> Iterator[None]:
        """Let parameters be the program's inside a `with` block, in which Pyro's store is another, empty one."""
        with pyro.get_param_store().scope(), _Parameters(self):
            yield

    def model(self, batch: Batch) -> None:
        """The Pyro model, scored where rows have what it observes."""
        with self._local(), _Sites(batch, [m.name for m in self.modalities]):
            self.story(batch)

    def guide(self, batch: Batch) -> None:
        """The Pyro guide; of an AutoNormal, its sites without the auxiliary ones."""
        with self._local():
            if not isinstance(self.answer, AutoNormal):
                self.answer(batch)
                return
            for name, site in self.answer.prototype_trace.iter_stochastic_nodes():
                loc, scale = self.answer._get_loc_and_scale(name)
                pyro.sample(name, _normal(loc, scale, site["fn"]))

    def query_guide(self, batch: Batch) -> None:
        """The guide, which draws what all rows share for every row, too."""
        if isinstance(self.answer, AutoNormal):
            with batch.plates():
                self.guide(batch)
        else:
            self.guide(batch)

    def objective(self, batch: Batch) -> Terms:
        """The negative ELBO. Rows that lack what the model conditions on add nothing."""
        return elbo(self, batch.requiring(self.conditions) if self.conditions else batch)

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Find the rows that have everything that the model conditions on, and anything else."""
        rows = torch.stack([o for n, o in observed.items() if n not in self.conditions]).any(0)
        return rows & torch.stack([rows, *(observed[n] for n in self.conditions)]).all(0)

    def parameter(self, name: str, start: Any, constraint: Any) -> Tensor:
        """Return a parameter that the pair declares with `pyro.param`.

        Args:
            name: its name.
            start: its first value, or a function that returns it.
            constraint: the constraint of its values.

        Returns:
            The constrained value.

        Raises:
            UsageError: it has no first value, or belongs to a network outside the pair.
        """
        if name not in self.names:
            value = start() if callable(start) else start
            if isinstance(value, nn.Parameter):
                raise self._refused(f"{name} belongs to a network outside; hold the network in a PyroModule")
            if value is None:
                raise self._refused(f"pyro.param({name!r}) has no value to begin with")
            self.names.append(name)
            self.learned.append(nn.Parameter(transform_to(constraint).inv(value.detach()).clone()))
        unconstrained = self.learned[self.names.index(name)]
        value = transform_to(constraint)(unconstrained)
        value.unconstrained = weakref.ref(unconstrained)  # as Pyro's own have it
        return value


class _Parameters(Messenger):
    """Answers `pyro.param` in place of Pyro's store."""

    def __init__(self, program: PyroProgram) -> None:
        super().__init__()
        self.program = program

    def _pyro_param(self, message: Any) -> None:
        start = message["args"][1] if len(message["args"]) > 1 else None
        own = any(start is parameter for parameter in self.program.parameters())
        if own or message["name"] in pyro.get_param_store():  # of a PyroModule, which puts it there
            return
        constraint = message["kwargs"].get("constraint", constraints.real)
        message["value"] = self.program.parameter(message["name"], start, constraint)
        message["done"] = True


class _Sites(Messenger):
    """Treats observed sites as `observe` would: they are scored where observed, or sampled where a query wants them."""

    def __init__(self, batch: Batch, names: Sequence[str]) -> None:
        super().__init__()
        self.batch, self.names = batch, names

    def _pyro_sample(self, message: Any) -> None:
        name = message["name"]
        if name not in self.names or not message["is_observed"]:
            return
        if name in self.batch.free:
            message["is_observed"], message["value"] = False, None
            return
        scored = self.batch.scored[name]
        message["mask"] = scored if message["mask"] is None else scored & message["mask"]


class _Transformed(dist.TransformedDistribution):
    """Independent normals that are transformed to a part of the real line. Moments are computed by quadrature."""

    def from_uniform(self, u: Tensor) -> Tensor:
        """(..., numbers) uniforms → draws, by the inverse distribution function."""
        base = self.base_dist
        while hasattr(base, "base_dist"):
            base = base.base_dist
        value = base.icdf(off_the_ends(u).reshape(*u.shape[:-1], *self.event_shape))
        for transform in self.transforms:
            value = transform(value)
        return value

    def _moment(self, power: int) -> Tensor:
        nodes = self.base_dist.mean.unsqueeze(-1) + self.base_dist.variance.sqrt().unsqueeze(-1) * NODES
        for transform in self.transforms:
            nodes = transform(nodes)
        return (nodes**power * SHARES / SHARES.sum()).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self._moment(1).to(self.base_dist.mean.dtype)

    @property
    def variance(self) -> Tensor:
        return (self._moment(2) - self._moment(1) ** 2).to(self.base_dist.mean.dtype)


def _normal(loc: Tensor, scale: Tensor, prior: Any) -> Any:
    """AutoNormal's distribution of a latent, as one distribution."""
    events = len(prior.event_shape)
    normal, transform = dist.Normal(loc, scale).to_event(events), _per_number(prior.support)
    return _Transformed(normal, [transform]) if getattr(transform, "parts", True) else normal


def _per_number(support: Any) -> Any:
    """The transform from the real line, or (for a simplex or a covariance) from several numbers together."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return biject_to(support)


def _example(modalities: Sequence[Modality], encoded: tuple[str, ...]) -> Batch:
    """Two rows of zeros in which everything is observed."""
    values = {m.name: torch.zeros(2, *m.shape, dtype=torch.int64 if m.classes else None) for m in modalities}
    return Batch(values, {n: torch.ones(2, dtype=torch.bool) for n in values}, torch.arange(2), 2, encoded)
