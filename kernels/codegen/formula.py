"""One scalar formula, written as text, becomes its value and its symbolic derivatives, as expressions.

A formula is Python arithmetic over its arguments with the functions of FUNCTIONS and `pi`; in "u = exp(-r2); u + u**2"
an intermediate has a name. It is read from Python's own syntax tree, so nothing is executed.
"""

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

import sympy
import torch
from sympy.core.function import ArgumentIndexError


class FormulaError(ValueError):
    """A formula cannot be read or derived. The message says which one, where, and what is allowed."""


class exp(sympy.Function):  # own classes, as sympy's rewrite exp(a)**2 to a second exp(2a), and branch over signs
    def fdiff(self, argindex: int = 1) -> Any:
        return self


class log(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / self.args[0]


class log1p(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (1 + self.args[0])


class sqrt(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (2 * self)


class tanh(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return 1 - self**2


class sign(sympy.Function):
    """−1, 0 or 1; its derivative is taken as 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.Integer(0)


class absolute(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return sign(self.args[0])


class sigmoid(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return self * (1 - self)


class softplus(sympy.Function):
    """ln(1 + e^a), stable."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sigmoid(self.args[0])


class inside(sympy.Function):
    """1 where low ≤ a ≤ high, else 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.Integer(0)


class clip(sympy.Function):
    """a, clamped to [low, high], which are numbers."""

    def fdiff(self, argindex: int = 1) -> Any:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return inside(*self.args)


class lgamma(sympy.Function):
    """ln Γ(a) for a > 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return digamma(self.args[0])


class digamma(sympy.Function):
    """ψ(a), the derivative of ln Γ, for a > 0. It has no derivative here."""


class stirling(sympy.Function):
    """ln Γ(a) − [(a − ½) ln a − a + ½ ln 2π] for a > 0, which Stirling's formula leaves out. Differences of ln Γ at
    large numbers are exact to the last digits where they are written with it.
    """

    def fdiff(self, argindex: int = 1) -> Any:
        return stirling_slope(self.args[0])


class stirling_slope(sympy.Function):
    """ψ(a) − ln a + 1/(2a), the derivative of `stirling`. It has no derivative here."""


class floor(sympy.Function):
    """The floor. It has no useful derivative, so a formula cannot be derived by what stands in it."""


FUNCTIONS: dict[str, tuple[Any, int, Callable[..., float]]] = {  # name → class, number of arguments, value at numbers
    "exp": (exp, 1, math.exp),
    "log": (log, 1, math.log),
    "log1p": (log1p, 1, math.log1p),
    "sqrt": (sqrt, 1, math.sqrt),
    "tanh": (tanh, 1, math.tanh),
    "abs": (absolute, 1, abs),
    "sign": (sign, 1, lambda a: math.copysign(1, a) if a else 0),
    "softplus": (softplus, 1, lambda a: max(a, 0) + math.log1p(math.exp(-abs(a)))),
    "sigmoid": (sigmoid, 1, lambda a: 1 / (1 + math.exp(-a))),
    "clip": (clip, 3, lambda a, low, high: min(max(a, low), high)),
    "floor": (floor, 1, math.floor),
    "lgamma": (lgamma, 1, math.lgamma),
    "digamma": (digamma, 1, lambda a: float(torch.digamma(torch.tensor(a, dtype=torch.float64)))),
    "stirling": (stirling, 1, lambda a: math.lgamma(a) - (a - 0.5) * math.log(a) + a - math.log(2 * math.pi) / 2),
}
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


def derive(name: str, text: str, arguments: Sequence[str], wrt: Sequence[str]) -> tuple[Any, list[Any]]:
    """Read a formula and derive it.

    Args:
        name: the name of the formula, for messages.
        text: the formula.
        arguments: its symbols.
        wrt: the symbols that it is derived by.

    Returns:
        The value, and the derivative by each of `wrt`, as sympy expressions over symbols named as the arguments.

    Raises:
        FormulaError: a symbol or function is unknown, has the wrong number of arguments, or has no derivative.
    """
    reader = _Reader(name, text, arguments)
    value = reader.read()
    derivatives = []
    for argument in wrt:
        derivative = sympy.diff(value, reader.known[argument])
        for one in derivative.atoms(sympy.Derivative, sympy.Subs):
            failed = one.expr.func.__name__
            raise reader.error(f"{failed} has no derivative by {argument}", reader.positions.get(failed, 0))
        derivatives.append(derivative)
    return value, derivatives


class _Reader:
    """Reads text as a sympy expression."""

    def __init__(self, name: str, text: str, arguments: Sequence[str]) -> None:
        self.name, self.text = name, text
        self.known: dict[str, Any] = {a: sympy.Symbol(a, real=True) for a in arguments} | {"pi": sympy.pi}
        self.positions: dict[str, int] = {}  # where each function is first used

    def error(self, what: str, position: int) -> FormulaError:
        return FormulaError(f"formula {self.name!r}: {what}, at position {position} of {self.text!r}.")

    def read(self) -> Any:
        source = self.text.replace("\n", " ").strip()
        try:
            statements = ast.parse(source).body
        except SyntaxError as error:
            raise self.error(f"not an expression ({error.msg})", (error.offset or 1) - 1) from None
        if not statements or not isinstance(statements[-1], ast.Expr):
            raise self.error("it must end with an expression", 0)
        for statement in statements[:-1]:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if not isinstance(target, ast.Name) or target.id in self.known:
                what = "before the last expression only 'new name = expression;' may stand"
                raise self.error(what, statement.col_offset)
            self.known[target.id] = self.convert(statement.value)  # type: ignore[attr-defined]
        return self.convert(statements[-1].value)

    def convert(self, node: ast.AST) -> Any:
        position = getattr(node, "col_offset", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return sympy.Integer(node.value) if isinstance(node.value, int) else sympy.Float(node.value)
        if isinstance(node, ast.Name):
            if node.id not in self.known:
                raise self.error(f"unknown symbol {node.id!r} (known: {', '.join(self.known)})", position)
            return self.known[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self.convert(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            left, right = self.convert(node.left), self.convert(node.right)
            if isinstance(node.op, ast.Div) and right == 0:
                raise self.error("division by zero", position)
            if isinstance(node.op, ast.Pow) and not right.is_number:
                raise self.error("an exponent must be a number", position)
            return OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.call(node.func.id, node, position)
        raise self.error(f"{ast.unparse(node)!r} is not arithmetic", position)

    def call(self, function: str, node: ast.Call, position: int) -> Any:
        if function not in FUNCTIONS:
            raise self.error(f"unknown function {function!r} (known: {', '.join(FUNCTIONS)})", position)
        cls, count, of_numbers = FUNCTIONS[function]
        if len(node.args) != count or node.keywords:
            raise self.error(f"{function} takes {count} argument{'s' * (count > 1)}", position)
        self.positions.setdefault(function, position)
        arguments = [self.convert(a) for a in node.args]
        if cls is clip and not all(a.is_number for a in arguments[1:]):
            raise self.error("clip's bounds must be numbers", position)
        if all(a.is_number for a in arguments):
            try:
                return sympy.Float(of_numbers(*(float(a) for a in arguments)))
            except ValueError:
                raise self.error(f"{function} is not defined there", position) from None
        return cls(*arguments)
