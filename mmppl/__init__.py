"""mmppl: latent-variable models of several modalities, any of which may be missing from any sample.

The public surface is the table below, loaded when first used: `import mmppl` loads neither torch nor pyro.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "core.batch",
    "all_subsets": "modalities.subsets",
    "observe": "core.observe",
    "Modality": "modalities.modality",
    "Likelihood": "modalities.likelihoods.likelihood",
    "likelihood": "modalities.likelihoods.registry",
    "Gaussian": "distributions.gaussian",
    "standard_normal": "distributions.gaussian",
    "gaussian_head": "distributions.gaussian",
    "mixture_of_experts": "distributions.mixture",
    "mixture_of_products": "distributions.mixture",
    "Laplace": "distributions.laplace",
    "Program": "core.program",
    "load_program": "core.loading",
    "check_hyper": "core.hyperparameters",
    "Terms": "core.terms",
    "likelihood_weights": "objectives.weights",
    "ObjectiveELBO": "objectives.svi",
    "elbo": "objectives.elbo",
    "kl": "objectives.elbo",
    "nll": "objectives.elbo",
    "stratified": "objectives.importance",
    "trace": "objectives.traces",
    "Dataset": "data.dataset",
    "read": "data.read",
    "fit": "train.fit",
    "Run": "runs.run",
    "Answer": "inference.answer",
    "evaluate": "evaluation.evaluate",
    "MMPPLError": "errors",
    "UsageError": "errors",
    "DataError": "errors",
    "UntrustedError": "errors",
    "LockedError": "errors",
    "FitError": "errors",
    "ConvDecoder": "nn.conv",
    "ConvTrunk": "nn.conv",
    "Dropout": "nn.mlp",
    "JointEncoder": "nn.per_modality",
    "NetworkOptions": "nn.options",
    "StyleBank": "distributions.style_bank",
    "Traces": "objectives.traces",
    "alignment": "objectives.alignment",
    "barycentre": "distributions.barycentre",
    "class_label": "core.program",
    "cross_weights": "objectives.weights",
    "decoders": "nn.per_modality",
    "encoders": "nn.per_modality",
    "full_and_singletons": "modalities.subsets",
    "laplace_head": "distributions.laplace",
    "mlp": "nn.mlp",
    "product_of_experts": "distributions.product",
    "random_subsets": "modalities.subsets",
    "shared_scales": "distributions.laplace",
    "suggest": "errors",
    "warmup": "objectives.weights",
}
__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from .core.batch import Batch as Batch
    from .core.hyperparameters import check_hyper as check_hyper
    from .core.loading import load_program as load_program
    from .core.observe import observe as observe
    from .core.program import Program as Program
    from .core.program import class_label as class_label
    from .core.terms import Terms as Terms
    from .data.dataset import Dataset as Dataset
    from .data.read import read as read
    from .distributions.barycentre import barycentre as barycentre
    from .distributions.gaussian import Gaussian as Gaussian
    from .distributions.gaussian import gaussian_head as gaussian_head
    from .distributions.gaussian import standard_normal as standard_normal
    from .distributions.laplace import Laplace as Laplace
    from .distributions.laplace import laplace_head as laplace_head
    from .distributions.laplace import shared_scales as shared_scales
    from .distributions.mixture import mixture_of_experts as mixture_of_experts
    from .distributions.mixture import mixture_of_products as mixture_of_products
    from .distributions.product import product_of_experts as product_of_experts
    from .distributions.style_bank import StyleBank as StyleBank
    from .errors import DataError as DataError
    from .errors import FitError as FitError
    from .errors import LockedError as LockedError
    from .errors import MMPPLError as MMPPLError
    from .errors import UntrustedError as UntrustedError
    from .errors import UsageError as UsageError
    from .errors import suggest as suggest
    from .evaluation.evaluate import evaluate as evaluate
    from .inference.answer import Answer as Answer
    from .modalities.likelihoods.likelihood import Likelihood as Likelihood
    from .modalities.likelihoods.registry import likelihood as likelihood
    from .modalities.modality import Modality as Modality
    from .modalities.subsets import all_subsets as all_subsets
    from .modalities.subsets import full_and_singletons as full_and_singletons
    from .modalities.subsets import random_subsets as random_subsets
    from .nn.conv import ConvDecoder as ConvDecoder
    from .nn.conv import ConvTrunk as ConvTrunk
    from .nn.mlp import Dropout as Dropout
    from .nn.mlp import mlp as mlp
    from .nn.options import NetworkOptions as NetworkOptions
    from .nn.per_modality import JointEncoder as JointEncoder
    from .nn.per_modality import decoders as decoders
    from .nn.per_modality import encoders as encoders
    from .objectives.alignment import alignment as alignment
    from .objectives.elbo import elbo as elbo
    from .objectives.elbo import kl as kl
    from .objectives.elbo import nll as nll
    from .objectives.importance import stratified as stratified
    from .objectives.svi import ObjectiveELBO as ObjectiveELBO
    from .objectives.traces import Traces as Traces
    from .objectives.traces import trace as trace
    from .objectives.weights import cross_weights as cross_weights
    from .objectives.weights import likelihood_weights as likelihood_weights
    from .objectives.weights import warmup as warmup
    from .runs.run import Run as Run
    from .train.fit import fit as fit


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmppl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value  # also replaces the submodule of the same name that the import has just bound
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
