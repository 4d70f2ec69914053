"""Programs: the base of every model/guide pair, and loading one by path or name."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyro
import torch
from torch import Tensor, nn

from ..distributions.gaussian import gaussian_head
from ..errors import MMPPLError, UsageError, suggest
from ..modalities.modality import Modality
from .batch import Batch
from .terms import Terms


class Program(nn.Module):
    """A probabilistic program over several modalities. Subclass it once per file; the constructor's keyword arguments
    are the hyper-parameters.

    Class attributes:
        default_data: the recipe that `fit` takes when none is named.
        training: defaults of `fit` for this program (epochs, batch_size, lr, ...).
        presets: name → hyper-parameters and training settings.
        at_answer: names of hyper-parameters on which answers depend, but no weight: a fitted run may be asked with
            others (`Run.answering`, `--set` of a query).
    Attributes:
        encoded: names that the guide may see (default: those with role "modality").
        conditions: names that the model conditions on and never scores; a row without them cannot be asked about.
        progress: 0-d buffer in [0, 1] that `fit` moves in place: the only clock a program may read.
    """

    default_data: ClassVar[str] = ""
    training: Any = {}  # on the class; on an instance it is PyTorch's training flag
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    at_answer: ClassVar[tuple[str, ...]] = ()
    conditions: tuple[str, ...] = ()
    progress: Tensor
    encoders: nn.ModuleDict

    def __init__(self, modalities: Sequence[Modality]) -> None:
        super().__init__()
        self.log_scales = nn.ParameterDict(
            {m.name: nn.Parameter(torch.zeros(m.size)) for m in modalities if m.scale == "learned"}
        )
        self.modalities = tuple(
            dataclasses.replace(m, log_scale=self.log_scales[m.name]) if m.scale == "learned" else m for m in modalities
        )
        self.encoded: tuple[str, ...] = tuple(m.name for m in modalities if m.role == "modality")
        self.register_buffer("progress", torch.zeros(()))

    def refuse_negative(self, **hyper: float) -> None:
        """UsageError for the first of these hyper-parameters that is negative."""
        for name, value in hyper.items():
            if value < 0:
                raise UsageError(f"{type(self).__name__}: {name}={value} is negative.")

    def refuse_no_share(self, **hyper: float) -> None:
        """UsageError for the first of these hyper-parameters that is not between 0 and 1."""
        for name, value in hyper.items():
            if not 0 <= value <= 1:
                raise UsageError(f"{type(self).__name__}: {name}={value} is not between 0 and 1.")

    def model(self, batch: Batch) -> None:
        """The generative story, p(z) Π p(x_m | z)."""
        raise NotImplementedError

    def guide(self, batch: Batch) -> None:
        """q(latents | what `batch.seen` shows)."""
        raise NotImplementedError

    def objective(self, batch: Batch) -> Terms:
        """What is minimised."""
        raise NotImplementedError

    def answer(self, batch: Batch) -> None:
        """The latents given `batch.seen`, as every query uses them; the guide unless overridden."""
        return self.guide(batch)

    def can_answer(self, given: Sequence[str]) -> str | None:
        """None, or the reason why no answer can be given for these names."""
        absent = [name for name in self.conditions if name not in given]
        if absent:
            return f"{type(self).__name__} conditions on {', '.join(absent)}; give it too"
        unseen = [name for name in given if name not in self.encoded]
        if unseen:
            blind = f"the guide of {type(self).__name__} does not see {', '.join(unseen)}"
            return f"{blind}; leave it out, or query with method importance"
        return None

    def answers(self) -> tuple[str, ...]:
        """Names that the model has a distribution for: what can be asked about (default: all but the conditions)."""
        return tuple(m.name for m in self.modalities if m.name not in self.conditions)

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """(N,) bool: the rows from which anything can be learnt; `fit` counts and leaves out the others."""
        if not self.encoded:
            raise UsageError(f"{type(self).__name__}: the data have labels only; a modality is needed.")
        return torch.stack([observed[name] for name in self.encoded]).any(0)

    def modality(self, name: str) -> Modality:
        """The modality or label of that name."""
        return next(m for m in self.modalities if m.name == name)

    def each_modality(self, batch: Batch | None = None) -> Iterator[Modality]:
        """A Pyro plate over the modalities (sequential: their shapes and likelihoods differ).

        Args:
            batch: leaves out those that it does not need (a query that does not ask for them decodes none of them).
        """
        every = list(range(len(self.modalities)))  # numbers, not a tensor: a recorded step cannot read a tensor's items
        for i in pyro.plate("modalities", len(every), subsample=every):
            if batch is None or batch.needs(self.modalities[i].name):
                yield self.modalities[i]

    def experts(
        self, batch: Batch, head: Callable[[Tensor], tuple[Tensor, Tensor]] = gaussian_head
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of every encoder's Gaussian, (M, B, D) each, or what another `head` makes of the
        (M, B, 2D) outputs; each encoder of `self.encoders` runs once, however many subsets are examined."""
        return head(torch.stack([self.encoders[name](batch.input(self.modality(name))) for name in self.encoded]))


def installed_programs() -> dict[str, Path]:
    """name → file of the programs that come with the package."""
    folder = importlib.util.find_spec("mmppl.programs")
    places = list(folder.submodule_search_locations or []) if folder else []
    files = [f for place in places for f in sorted(Path(place).glob("*.py"))]
    return {f.stem: f for f in files if not f.stem.startswith("_")}


def load_program(program: str | Path) -> type[Program]:
    """The one Program class of a file, or of an installed program by name.

    Raises: UsageError for an unknown name, a file that cannot be read or run (file:line), no class or several.
    """
    installed = installed_programs()
    if str(program) in installed:
        path = installed[str(program)]
    else:
        path = Path(program)
        if not path.is_file():
            known = sorted(installed)
            raise UsageError(
                f"no program {str(program)!r}: neither a file nor one of {', '.join(known)}."
                + suggest(path.stem, known)
            )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Change its permissions.") from None
    return program_from_source(source, path)


def program_from_source(source: bytes, path: Path) -> type[Program]:
    """Execute a program's source and return its class; `path` is where error messages and tracebacks point."""
    if b"\0" in source:
        raise UsageError(f"{path}: no program, which is a Python file, but binary data; give data with --data.")
    sha = hashlib.sha256(bytes(path.resolve()) + b"\0" + source).hexdigest()  # errors name the path
    name = f"mmppl_program_{path.stem}_{sha[:12]}"
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # dataclasses and typing look modules up there
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, (Exception, SystemExit)):
                raise
            line = _last_line(error, str(path))
            if isinstance(error, SyntaxError) and error.filename == str(path):  # of its own, not of what it imports
                line = error.lineno
            raise UsageError(f"{path}:{line or 1}: {_in_words(error)}") from error
        module.__dict__["__source__"] = source
    found = [
        c
        for c in vars(sys.modules[name]).values()
        if isinstance(c, type) and issubclass(c, Program) and c.__module__ == name
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise UsageError(f"{path}: a program file holds exactly one Program class; this one has {names}.")
    return found[0]


def blame(error: Exception, cls: type[Program]) -> UsageError | None:
    """`error` as a fault of the program (file:line: Type: message), if it passed through the file that defines `cls`.

    None for what no edit of that file mends: errors that are the user's already, and a lack of memory.
    """
    memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if memory or isinstance(error, MMPPLError) or file is None:
        return None
    line = _last_line(error, file)
    return None if line is None else UsageError(f"{file}:{line}: {_in_words(error)}")


def _last_line(error: BaseException, file: str) -> int | None:
    """Line of the innermost frame that runs code of `file`."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return lines[-1] if lines else None


def _in_words(error: BaseException) -> str:
    """Type and message on one line, less the table of shapes that Pyro adds."""
    message = " ".join(str(error).partition("Trace Shapes:")[0].split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def source_of(cls: type[Program]) -> bytes:
    """Source of the file that a program class comes from; b"" where there is none (a class typed at a prompt)."""
    module = sys.modules.get(cls.__module__)
    if module is not None and "__source__" in vars(module):
        return module.__dict__["__source__"]
    try:
        return Path(inspect.getfile(cls)).read_bytes()
    except (TypeError, OSError):
        return b""
