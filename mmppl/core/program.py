"""The base class of programs, each of which is a pair of a model and a guide."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyro
import torch
from torch import Tensor, nn

from ..distributions.gaussian import Gaussian, gaussian_head, standard_normal
from ..errors import UsageError
from ..modalities.likelihoods.likelihood import Likelihood
from ..modalities.likelihoods.state import LikelihoodState
from ..modalities.modality import Modality
from .batch import Batch
from .covariates import bind_covariates, binding_covariates
from .elements import check_elements
from .hyperparameters import hyper_parameters, taking_fields
from .observe import observe
from .pyro_method import PyroMethod
from .stages import Group, Stage
from .terms import Terms


class Program(nn.Module):
    """A probabilistic program over several modalities.

    A file defines one subclass. The keyword arguments of its constructor are the hyper-parameters.

    Args:
        modalities: the schema of the data.

    Attributes:
        default_data: the recipe that `fit` takes when none is named.
        training: defaults of `fit` for this program (epochs, batch_size, lr, ...).
        presets: name → hyper-parameters and training settings.
        default_rows: numbers of training rows, from the first to below the second (None: to any), for which `fit` takes
            this program where none is named; None: never.
        holds_out: whether rows that are held out tell a fit when to stop or how to calibrate; else none is drawn.
        query_options: names of hyper-parameters on which answers depend, but no weight: a fitted run may be asked with
            other values (`Run.with_options`, or `--set` of a query).
        takes_elements: whether it takes sequences, whose rows may have unequal lengths.
        takes_gaps: whether it takes modalities of which rows lack single cells. `observe` and `Batch.input` see to
            both; a program that computes with values itself may not.
        takes_covariates: whether it takes conditions (role "condition"). `encoders`, `decoders` and `JointEncoder` make
            networks that see them; a program whose decoders have other networks adds `Modality.covariate_size` to the
            width of what they decode, and says so here.
        covariates: the conditions, which are no modalities of the program; see `mmppl.core.covariates`.
        quantities: names of what else a query may want beside latents, modalities and labels; see `quantity`.
        stage: the name of the stage of the fit that goes on; "" outside of a fit. It never changes within a stage.
        encoded: names that the guide may see (default: those with role "modality").
        likelihood_parameters: name → the parameters that its likelihood learns, by name ("log_scale"), and its
            calibration, if it has any.
        conditions: names of modalities that the model conditions on and never scores, and that have to be given: a
            query is refused rows that lack them. (What has the role "condition" is in `covariates` instead.)
        expert_calibration: (modalities,) buffer, the log of the exponent that calibration gives each Gaussian expert.
        calibrated: whether answers use the calibration; see `mmppl.core.calibration`.
        progress: 0-d buffer in [0, 1] that `fit` updates in place: the only clock that a program may read.

    Example:
        >>> import pyro
        >>> from torch import nn
        >>> from mmppl import elbo
        >>> class Linear(Program):
        ...     def __init__(self, modalities, *, latent_dim: int = 2):
        ...         super().__init__(modalities)
        ...         self.latent_dim = latent_dim
        ...         self.decoders = nn.ModuleDict({m.name: nn.Linear(latent_dim, m.output_size) for m in modalities})
        ...
        ...     def model(self, batch):
        ...         with batch.plates():
        ...             self.observe_each(pyro.sample("z", self.standard_normal(self.latent_dim)), batch)
        ...
        ...     def guide(self, batch):  # the prior; a real guide looks at batch.seen
        ...         with batch.plates():
        ...             pyro.sample("z", self.standard_normal(self.latent_dim))
        ...
        ...     def objective(self, batch):
        ...         return elbo(self, batch)
        >>> program = Linear([Modality("x", (3,), "normal"), Modality("y", (1,), "normal")], latent_dim=4)
        >>> program.encoded, program.latent_dim
        (('x', 'y'), 4)
    """

    default_data: ClassVar[str] = ""
    training: Any = {}  # on the class; on an instance it is PyTorch's training flag
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    default_rows: ClassVar[tuple[int, int | None] | None] = None
    holds_out: ClassVar[bool] = True
    query_options: ClassVar[tuple[str, ...]] = ()
    takes_elements: ClassVar[bool] = True
    takes_gaps: ClassVar[bool] = True
    takes_covariates: ClassVar[bool] = False
    quantities: ClassVar[tuple[str, ...]] = ()
    stage: str = ""
    conditions: tuple[str, ...] = ()
    covariates: tuple[Modality, ...] = ()
    schema: tuple[Modality, ...]
    expert_calibration: Tensor
    progress: Tensor
    encoders: nn.ModuleDict
    decoders: nn.ModuleDict

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        if "__init__" in vars(cls):
            hyper_parameters(cls)  # refuses two of the same name as soon as the class is defined
            cls.__init__ = binding_covariates(taking_fields(cls.__init__))  # type: ignore[method-assign]
        for name in ("model", "guide", "query_guide"):
            if inspect.isfunction(method := vars(cls).get(name)):
                setattr(cls, name, PyroMethod(method))

    def __init__(self, modalities: Sequence[Modality]) -> None:
        super().__init__()
        modalities = bind_covariates(self, modalities)  # where no subclass has a constructor
        check_elements(self, modalities)
        states = {m.name: LikelihoodState(m.family.parameters(m), m.family.calibration(m)) for m in modalities}
        bound: dict[str, Any] = {n: s for n, s in states.items() if s.names or s.calibration is not None}
        self.likelihood_parameters = nn.ModuleDict(bound)
        self.modalities = tuple(dataclasses.replace(m, learned=bound.get(m.name)) for m in modalities)
        if not self.covariates:
            self.schema = self.modalities
        self.encoded: tuple[str, ...] = tuple(m.name for m in modalities if m.role == "modality")
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("expert_calibration", torch.zeros(len(modalities)))
        self.calibrated = True

    def check_nonnegative(self, **hyper: float | None) -> None:
        """Check that these hyper-parameters are not negative.

        Args:
            **hyper: the values by name; None is one that was not given.

        Raises:
            UsageError: one of them is negative; the message names the first.
        """
        for name, value in hyper.items():
            if value is not None and value < 0:
                raise UsageError(f"{type(self).__name__}: {name}={value} is negative.")

    def check_fraction(self, **hyper: float) -> None:
        """Check that these hyper-parameters lie between 0 and 1.

        Args:
            **hyper: the values by name.

        Raises:
            UsageError: one of them does not; the message names the first.
        """
        for name, value in hyper.items():
            if not 0 <= value <= 1:
                raise UsageError(f"{type(self).__name__}: {name}={value} is not between 0 and 1.")

    def model(self, batch: Batch) -> None:
        """The generative story, p(z) Π p(x_m | z), as Pyro sample statements."""
        raise NotImplementedError

    def guide(self, batch: Batch) -> None:
        """q(latents | what `batch.seen` shows), as Pyro sample statements."""
        raise NotImplementedError

    def objective(self, batch: Batch) -> Terms:
        """Return the terms of the loss that `fit` minimises."""
        raise NotImplementedError

    def parameter_groups(self) -> Sequence[Group]:
        """Groups of parameters with optimisers of their own; what none of them names is the group "program".

        By default those of the program's parts: modules that have a method of this name, such as a critic.
        """
        own = [getattr(part, "parameter_groups", None) for part in self.modules() if part is not self]
        return [group for groups in own if groups is not None for group in groups()]

    def stages(self) -> Sequence[Stage]:
        """Successive stages of a fit; by default one, in which all groups move and all terms count.

        Example:
            A critic that ascends the term "tc" five times per batch, and a last fifth for the decoders alone::

                def parameter_groups(self):
                    return [
                        Group("critic", self.critic.parameters(), lr=1e-4, steps=5, maximises=("tc",)),
                        Group("decoders", self.decoders.parameters()),
                    ]  # the rest is the group "program"

                def stages(self):
                    return [
                        Stage("all", share=0.8),
                        Stage("decoders", share=0.2, groups=("decoders",), terms=("nll.image",)),
                    ]
        """
        return [Stage()]

    def query_guide(self, batch: Batch) -> None:
        """The latents given `batch.seen`, as every query uses them: the guide, unless a program overrides this."""
        return self.guide(batch)

    def predictive(self, batch: Batch, names: Sequence[str]) -> Mapping[str, Likelihood]:
        """The distributions p(x | what `batch.seen` shows) that a program has in closed form, by default none.

        Where there is one, answers take mean, standard deviation and quantiles from it instead of from draws.

        Args:
            batch: B rows.
            names: names of modalities and labels.

        Returns:
            name → distribution of batch shape (B,), for some of the names.
        """
        return {}

    def quantity(self, name: str, batch: Batch) -> Mapping[str, Tensor]:
        """A number of each modality of each row that is no site of model or guide, such as an importance.

        Args:
            name: one of `quantities`.
            batch: B rows, of which the program may look at `batch.seen` alone.

        Returns:
            name of a modality → (B,) positive where it is seen, else 0.
        """
        raise NotImplementedError

    def dependence_scores(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor] | None:
        """What a critic of the program, which tells rows from rows put together of several, says of each; by default
        there is none.

        Args:
            batch: B rows.

        Returns:
            (B,) scores of the rows, (B,) scores of rows put together of theirs, and (B,) bool, which of them count
            because they have two modalities; None without a critic.
        """
        return None

    def notes(self) -> Sequence[str]:
        """Lines for the user that `fit` logs when it has ended, such as what was found; by default none."""
        return []

    def can_answer(self, given: Sequence[str], weighs: bool = False) -> str | None:
        """Say why a query cannot be answered from these modalities.

        Args:
            given: names that the query conditions on.
            weighs: whether its draws are weighed by the model, which also scores what the guide does not see.

        Returns:
            The reason and what to do; None where the query can be answered.
        """
        absent = [name for name in self.conditions if name not in given]
        if absent:
            return f"{type(self).__name__} conditions on {', '.join(absent)}; give it too"
        unseen = [name for name in given if name not in self.encoded]
        if unseen and not weighs:
            blind = f"the guide of {type(self).__name__} does not see {', '.join(unseen)}"
            return f"{blind}; leave it out, or query with method importance"
        return None

    def targets(self) -> tuple[str, ...]:
        """Return the names that the model has a distribution for, which a query may ask about: by default, all but the
        conditions.
        """
        return tuple(m.name for m in self.modalities if m.name not in self.conditions)

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Find the rows from which anything can be learned. `fit` counts the others and leaves them out.

        Args:
            observed: name → (N,) bool.

        Returns:
            (N,) bool.

        Raises:
            UsageError: the guide sees none of the modalities.
        """
        if not self.encoded:
            raise UsageError(f"{type(self).__name__}: the data have labels only; a modality is needed.")
        return torch.stack([observed[name] for name in self.encoded]).any(0)

    def modality(self, name: str) -> Modality:
        """Return the modality or label of that name."""
        return next(m for m in self.modalities if m.name == name)

    def standard_normal(self, size: int) -> Gaussian:
        """Return N(0, I) over vectors of that size, on the program's device and in its precision."""
        return standard_normal(size, like=self.progress)

    def each_modality(self) -> Iterator[Modality]:
        """Go through the modalities in a Pyro plate (sequential, as their shapes and likelihoods differ)."""
        every = list(range(len(self.modalities)))  # numbers, not a tensor: a recorded step cannot read a tensor's items
        for i in pyro.plate("modalities", len(every), subsample=every):
            yield self.modalities[i]

    def observe_each(self, z: Tensor, batch: Batch) -> None:
        """Score every modality: x_m ~ likelihood_m(decoder_m(z)), with the networks of `self.decoders`.

        Args:
            z: (..., B, D) latents.
            batch: the batch.
        """
        for m in self.each_modality():
            observe(m, self.decoders[m.name], z, batch)

    def seen_input(self, batch: Batch) -> Tensor:
        """Put all that is seen into one vector, as a joint encoder takes it.

        Args:
            batch: the batch.

        Returns:
            (..., B, sum of the input sizes of all that is encoded), with zeros for what is not seen, and the columns of
            the covariates behind.
        """
        alone = [self.modality(name).alone for name in self.encoded]
        inputs = [torch.where(batch.sees(m.name).unsqueeze(-1), batch.input(m), 0.0) for m in alone]
        if self.covariates:
            inputs.append(batch.beside(self.covariates).expand(*inputs[0].shape[:-1], -1))
        return torch.cat(inputs, -1)

    def experts(
        self,
        batch: Batch,
        head: Callable[[Tensor], tuple[Tensor, Tensor]] = gaussian_head,
        names: Sequence[str] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run each encoder of `self.encoders` once, however many subsets are examined.

        Args:
            batch: the batch.
            head: reads the (M, B, 2D) outputs as two parameters.
            names: names of the M modalities that have an encoder, in their order; None: all that is encoded.

        Returns:
            Mean and log-variance of every encoder's Gaussian, calibrated, (M, B, D) each, or what another `head`
            returns.
        """
        own = self.encoded if names is None else names
        outputs = torch.stack([self.encoders[name](batch.input(self.modality(name))) for name in own])
        if head is not gaussian_head or not self.calibrated:
            return head(outputs)
        loc, log_var = head(outputs)
        every = [m.name for m in self.modalities]
        log_exponents = self.expert_calibration[[every.index(name) for name in own]]
        return loc, log_var - log_exponents.to(log_var.dtype).reshape(-1, 1, 1)  # N(m, v)^t is N(m, v / t)
