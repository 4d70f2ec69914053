"""Code from a formula: its value and derivatives as PyTorch, Triton and C source.

The PyTorch and Triton sources are modules in the cache folder, named by formula and hash, to be read; what is executed
is the text that was checked (see `cache`). The C and Triton sources are placed into the templates of `likelihood_c`,
`likelihood_triton`, `pairwise_c` and `pairwise_triton`.
"""

import copy
import hashlib
import keyword
import linecache
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .cache import keep, kept, one_at_a_time, place
from .emit import TORCH, TRITON, C, Writer, _body

RESERVED = re.compile(  # names that formulas, or the code made from them, use themselves
    "pi|exp|log|log1p|sqrt|tanh|sign|abs|softplus|sigmoid|clip|floor|lgamma|digamma|stirling|stirling_slope|inside"
    "|torch|triton|tl|value|value_and_grad|real|int|float|double|long|short|char|void"
)
FORMULAS: dict[str, "Formula"] = {}
"""Every formula of this process by name."""


@dataclass(frozen=True)
class Formula:
    """A scalar formula, whose code is generated on first use.

    Args:
        name: a Python name.
        text: the formula; see `kernels.codegen.formula`.
        arguments: its symbols, in the order of the generated functions' arguments.
        wrt: the symbols that it is derived by.

    Raises:
        ValueError: the name of the formula or of an argument cannot be a name.
    """

    name: str
    text: str
    arguments: tuple[str, ...]
    wrt: tuple[str, ...]

    def __post_init__(self) -> None:
        for word in (self.name, *self.arguments):
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", word) or keyword.iskeyword(word) or RESERVED.fullmatch(word):
                raise ValueError(f"formula {self.name!r}: {word!r} cannot be a name; take another.")
        FORMULAS[self.name] = self

    def value(self, *arguments: Tensor | float) -> Tensor:
        """Compute the formula on broadcast tensors, in PyTorch's differentiable operations."""
        return self.reference.value(*arguments)

    def value_and_grad(self, *arguments: Tensor | float) -> tuple[Tensor, ...]:
        """Compute (value, derivative by each of `wrt`), from the symbolic derivatives."""
        return self.reference.value_and_grad(*arguments)

    @property
    def c_source(self) -> str:
        """`static inline void NAME(real ARGUMENT, ..., real *_value, real *_d_ARGUMENT, ...)`."""
        return self.reference.C_SOURCE

    @cached_property
    def reference(self) -> ModuleType:
        """The generated PyTorch module."""
        return self._module("")

    @cached_property
    def triton(self) -> ModuleType:
        """The generated Triton module, whose device function `value_and_grad` returns (value, derivatives...)."""
        return self._module("_triton")

    def _module(self, suffix: str) -> ModuleType:
        return _imported(self.path(suffix), self.source(suffix))

    @property
    def triton_source(self) -> str:
        """The text of the Triton module."""
        return self.source("_triton")

    def source(self, suffix: str = "") -> str:
        """Return the text of a generated module (suffix "" or "_triton"), which is made if the cache has it not."""
        with one_at_a_time():
            text = kept(f"{self.key}{suffix}.py")
            return self._made()[suffix] if text is None else text.decode()

    @cached_property
    def key(self) -> str:
        """Name and hash. Another formula of the same name has another key."""
        made_of = repr((self.name, self.text, self.arguments, self.wrt)).encode() + _generator()
        return f"{self.name}_{hashlib.sha256(made_of).hexdigest()[:12]}"

    def path(self, suffix: str = "") -> Path:
        """Return where the generated source lies (suffix "" or "_triton")."""
        return place(f"{self.key}{suffix}.py")

    def _made(self) -> dict[str, str]:
        """Generate both modules, and keep them once the derivatives have been checked."""
        from .formula import derive

        value, derivatives = derive(self.name, self.text, self.arguments, self.wrt)
        made = {"": _reference_module(self, value, derivatives), "_triton": _triton_module(self, value, derivatives)}
        unchecked = copy.copy(self)
        vars(unchecked)["reference"] = _imported(self.path(), made[""])
        check_derivatives(unchecked)
        for suffix, source in made.items():
            keep(f"{self.key}{suffix}.py", source.encode())
        return made


def _imported(path: Path, source: str) -> ModuleType:
    """Execute source that was checked, without reading its file again (or Python's compiled copy of it)."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    linecache.cache[str(path)] = (len(source), None, source.splitlines(keepends=True), str(path))  # Triton reads it
    exec(compile(source, str(path), "exec"), vars(module))
    return module


def module(name: str, source: str) -> ModuleType:
    """Import generated source, and keep it in the cache folder to be read.

    Args:
        name: the name of the module, to which a hash of the source is added.
        source: the source.

    Returns:
        The module.
    """
    file = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:12]}.py"
    with one_at_a_time():
        if kept(file) is None:
            keep(file, source.encode())
    return _imported(place(file), source)


def check_derivatives(formula: Formula, points: int = 64) -> None:
    """Compare the generated derivatives with central differences in float64.

    Points at which the formula is not finite (outside its domain) are left out.

    Args:
        formula: the formula.
        points: the number of random points.

    Raises:
        ValueError: they disagree.
    """
    generator = torch.Generator().manual_seed(0)
    arguments = list(2 * torch.rand(len(formula.arguments), points, generator=generator, dtype=torch.float64) + 0.1)
    _, *derivatives = formula.value_and_grad(*arguments)
    for name, derivative in zip(formula.wrt, derivatives):
        at, h = formula.arguments.index(name), 1e-6
        sides = [formula.value(*(a + s * h if i == at else a for i, a in enumerate(arguments))) for s in (1, -1)]
        difference = torch.as_tensor(sides[0] - sides[1]) / (2 * h)
        derivative = torch.as_tensor(derivative, dtype=torch.float64).expand(points)
        wrong = ~torch.isclose(derivative, difference.expand(points), rtol=1e-5, atol=1e-7) & difference.isfinite()
        if wrong.sum() > 1:  # a kink between the two points may spoil one
            raise ValueError(f"formula {formula.name!r}: the derivative by {name} disagrees with finite differences.")


@cache
def _generator() -> bytes:
    here = Path(__file__).parent
    return b"".join((here / f"{part}.py").read_bytes() for part in ("generate", "emit", "formula"))


def _head(formula: Formula) -> str:
    return f'"""{formula.name}({", ".join(formula.arguments)}) = {formula.text} - generated, not to be edited."""\n'


def _reference_module(formula: Formula, value: Any, derivatives: Sequence[Any]) -> str:
    arguments = ", ".join(formula.arguments)
    writer = Writer(C)
    results = writer.write([value, *derivatives])
    outputs = ["_value", *(f"_d_{name}" for name in formula.wrt)]
    inputs = [f"real {a}" for a in formula.arguments] + [f"real *{o}" for o in outputs]
    lines = [f"    real {name} = {text};" for name, text in writer.statements]
    lines += [f"    *{output} = {text};" for output, text in zip(outputs, results)]
    c_source = "\n".join([f"static inline void {formula.name}({', '.join(inputs)}) {{", *lines, "}"])
    return f'''{_head(formula)}
import torch

from mmppl.kernels.codegen.gamma import stirling, stirling_slope


def inside(a, low, high):
    return ((a >= low) & (a <= high)).to(a.dtype)


def value({arguments}):
{_body(TORCH, [value]).removesuffix(",")}


def value_and_grad({arguments}):
{_body(TORCH, [value, *derivatives])}


C_SOURCE = """
{c_source}
"""
'''


def _triton_module(formula: Formula, value: Any, derivatives: Sequence[Any]) -> str:
    arguments = ", ".join(formula.arguments)
    return f"""{_head(formula)}
import triton
import triton.language as tl

from mmppl.kernels.codegen.gamma_triton import digamma, lgamma, stirling, stirling_slope
from mmppl.kernels.codegen.primitives_triton import clip, inside, log1p, sigmoid, sign, softplus, tanh


@triton.jit
def value_and_grad({arguments}):
{_body(TRITON, [value, *derivatives])}
"""
