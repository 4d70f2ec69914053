"""mmppl: latent-variable models of several modalities, any of which may be missing from any sample.

The public surface is the table below, loaded when first used: `import mmppl` loads neither torch nor pyro.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "batch",
    "all_subsets": "batch",
    "observe": "batch",
    "Modality": "modality",
    "Likelihood": "likelihoods",
    "likelihood": "likelihoods",
    "Gaussian": "gaussian",
    "standard_normal": "gaussian",
    "gaussian_head": "gaussian",
    "mixture_of_experts": "mixture",
    "mixture_of_products": "mixture",
    "Laplace": "laplace",
    "Program": "program",
    "load_program": "program",
    "check_hyper": "hyper",
    "Terms": "terms",
    "likelihood_weights": "terms",
    "ObjectiveELBO": "objective",
    "elbo": "objective",
    "kl": "objective",
    "nll": "objective",
    "stratified": "objective",
    "trace": "objective",
    "Dataset": "data",
    "read": "data",
    "fit": "fitting",
    "Run": "runs",
    "Answer": "answer",
    "evaluate": "evaluation",
    "MMPPLError": "errors",
    "UsageError": "errors",
    "DataError": "errors",
    "UntrustedError": "errors",
    "LockedError": "errors",
    "FitError": "errors",
}
__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from .answer import Answer as Answer
    from .batch import Batch as Batch
    from .batch import all_subsets as all_subsets
    from .batch import observe as observe
    from .data import Dataset as Dataset
    from .data import read as read
    from .errors import DataError as DataError
    from .errors import FitError as FitError
    from .errors import LockedError as LockedError
    from .errors import MMPPLError as MMPPLError
    from .errors import UntrustedError as UntrustedError
    from .errors import UsageError as UsageError
    from .evaluation import evaluate as evaluate
    from .fitting import fit as fit
    from .gaussian import Gaussian as Gaussian
    from .gaussian import gaussian_head as gaussian_head
    from .gaussian import standard_normal as standard_normal
    from .hyper import check_hyper as check_hyper
    from .laplace import Laplace as Laplace
    from .likelihoods import Likelihood as Likelihood
    from .likelihoods import likelihood as likelihood
    from .mixture import mixture_of_experts as mixture_of_experts
    from .mixture import mixture_of_products as mixture_of_products
    from .modality import Modality as Modality
    from .objective import ObjectiveELBO as ObjectiveELBO
    from .objective import elbo as elbo
    from .objective import kl as kl
    from .objective import nll as nll
    from .objective import stratified as stratified
    from .objective import trace as trace
    from .program import Program as Program
    from .program import load_program as load_program
    from .runs import Run as Run
    from .terms import Terms as Terms
    from .terms import likelihood_weights as likelihood_weights


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmppl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value  # also replaces the submodule of the same name that the import has just bound
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
