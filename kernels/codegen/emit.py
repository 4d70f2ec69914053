"""Expressions as source text in three dialects: PyTorch, Triton and C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dialect:
    """How one language writes numbers and functions."""

    number: Callable[[float], str]
    functions: dict[str, str]


TORCH = Dialect(
    repr,
    {
        "exp": "torch.exp({})", "log": "torch.log({})", "log1p": "torch.log1p({})", "sqrt": "torch.sqrt({})",
        "tanh": "torch.tanh({})", "sign": "torch.sign({})", "absolute": "torch.abs({})", "floor": "torch.floor({})",
        "sigmoid": "torch.sigmoid({})", "softplus": "(-torch.nn.functional.logsigmoid(-{}))",
        "clip": "torch.clamp({}, {}, {})", "inside": "inside({}, {}, {})",
        "lgamma": "torch.lgamma({})", "digamma": "torch.digamma({})", "stirling": "stirling({})",
        "stirling_slope": "stirling_slope({})",
    },
)  # fmt: skip


TRITON = Dialect(
    repr,
    {
        "exp": "tl.exp({})", "log": "tl.log({})", "log1p": "log1p({})", "sqrt": "tl.sqrt({})", "tanh": "tanh({})",
        "sign": "sign({})", "absolute": "tl.abs({})", "floor": "tl.floor({})", "sigmoid": "sigmoid({})",
        "softplus": "softplus({})", "clip": "clip({}, {}, {})", "inside": "inside({}, {}, {})",
        "lgamma": "lgamma({})", "digamma": "digamma({})", "stirling": "stirling({})",
        "stirling_slope": "stirling_slope({})",
    },
)  # fmt: skip


C = Dialect(
    lambda number: f"(real){number!r}",
    {
        "exp": "EXP({})", "log": "LOG({})", "log1p": "LOG1P({})", "sqrt": "SQRT({})", "tanh": "TANH({})",
        "sign": "SIGN({})", "absolute": "ABS({})", "floor": "FLOOR({})", "sigmoid": "SIGMOID({})",
        "softplus": "SOFTPLUS({})", "clip": "CLIP({}, {}, {})", "inside": "INSIDE({}, {}, {})",
        "lgamma": "LGAMMA({})", "digamma": "DIGAMMA({})", "stirling": "STIRLING({})",
        "stirling_slope": "STIRLING_SLOPE({})",
    },
)  # fmt: skip


class Writer:
    """Writes expressions as statements of one dialect. Common subexpressions are computed once, integer powers by
    squaring.

    Args:
        dialect: the language.

    Attributes:
        statements: (name, expression), in order.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.statements: list[tuple[str, str]] = []
        self.powers: dict[tuple[str, int], str] = {}

    def write(self, expressions: Sequence[Any]) -> list[str]:
        """Return the results' expressions. The statements that come before them are added to `statements`."""
        import sympy

        shared, results = sympy.cse(expressions, symbols=sympy.numbered_symbols("_t"), optimizations=[])
        for symbol, expression in shared:
            self.statements.append((symbol.name, self.expression(expression)))
        return [self.expression(e) for e in results]

    def expression(self, e: Any) -> str:
        """Return the source of an expression."""
        if e.is_number:
            return self.dialect.number(float(e))
        if e.is_Symbol:
            return e.name
        if e.is_Add:
            terms = [self.expression(a) for a in e.args]
            return f"({terms[0]}{''.join(f' - {t[1:]}' if t[0] == '-' else f' + {t}' for t in terms[1:])})"
        if e.is_Mul:
            if e.as_coeff_Mul()[0] < 0:
                return f"-{self.expression(-e)}"
            below = [a for a in e.args if a.is_Pow and a.exp.is_number and a.exp < 0]
            above = "*".join(self.expression(a) for a in e.args if a not in below) or self.dialect.number(1.0)
            return f"({above}/({'*'.join(self.expression(1 / a) for a in below)}))" if below else f"({above})"
        if e.is_Pow:
            return self.power(e.base, float(e.exp))
        return self.dialect.functions[type(e).__name__].format(*(self.expression(a) for a in e.args))

    def power(self, base: Any, exponent: float) -> str:
        """Return the source of a power.

        Args:
            base: a sympy expression.
            exponent: any number.

        Returns:
            Source text.
        """
        if exponent < 0:
            return f"({self.dialect.number(1.0)}/{self.power(base, -exponent)})"
        if exponent == 0.5:
            return self.dialect.functions["sqrt"].format(self.expression(base))
        if exponent != int(exponent):
            functions = self.dialect.functions
            logarithm = functions["log"].format(self.expression(base))
            return functions["exp"].format(f"({self.dialect.number(exponent)}*{logarithm})")
        text = self.expression(base)
        if not base.is_Symbol and exponent > 1:
            text = self.named(text, 1, text)
        return self.whole_power(text, int(exponent))

    def whole_power(self, base: str, n: int) -> str:
        """Return the source of a whole power, by repeated squaring.

        Args:
            base: source text.
            n: at least 1.

        Returns:
            Source text.
        """
        if n == 1:
            return base
        half = self.whole_power(base, n // 2)
        return self.named(base, n, f"{half}*{half}" if n % 2 == 0 else f"{half}*{half}*{base}")

    def named(self, base: str, n: int, text: str) -> str:
        """Return the name of a power, which gets a statement when it is first asked for.

        Args:
            base: source text of the base.
            n: the exponent.
            text: source text of the power.

        Returns:
            The name.
        """
        if (base, n) not in self.powers:
            self.powers[base, n] = f"_p{len(self.powers)}"
            self.statements.append((self.powers[base, n], text))
        return self.powers[base, n]


def _body(dialect: Dialect, expressions: Sequence[Any]) -> str:
    writer = Writer(dialect)
    results = writer.write(expressions)
    lines = [f"    {name} = {text}" for name, text in writer.statements]
    return "\n".join([*lines, f"    return {', '.join(results)}" + ("," if len(results) == 1 else "")])
