"""Which columns make a modality: `--as 'lab=crp,alb*'`, names of columns or patterns of names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from ....errors import UsageError, suggest
from ....modalities.likelihoods.registry import LIKELIHOODS
from ....modalities.modality import Modality
from ...annotations import WORD
from ...splits import GROUP
from ...time_order import TIME
from ..arrays import SIGNS, is_taken
from ..overrides import CONDITION

ID = "id"  # what `--as NAME=…` calls the column that names the rows
ASIDE = ("ignore", WORD, GROUP, TIME, ID)
OTHERS = "*"  # the name under which `as_` speaks of all arrays that it does not name
QUOTED = re.compile(r"[,:*?\[\]]")
IN_BRACKETS = re.compile(r"\[([,:*?\[\]])\]")


def as_text(how: str | Sequence[str]) -> str:
    """Write what a user says about an array as one text.

    Args:
        how: "likelihood:key=value,…" and the like, or names of columns.

    Returns:
        The text; names become a list with commas, in which signs that have a meaning stand in brackets.

    Example:
        >>> as_text(["crp", "IL-6 (a:b)"])
        'crp,IL-6 (a[:]b)'
    """
    if isinstance(how, str):
        return how
    names = [quoted(name) for name in how]
    return ",".join(names) + "," * (len(names) == 1)


def quoted(name: str) -> str:
    """Put the signs of a name that have a meaning in `--as` into brackets.

    Args:
        name: the name of a column.

    Returns:
        The name as `--as` takes it.

    Example:
        >>> quoted("IL-6 (a:b)")
        'IL-6 (a[:]b)'
    """
    return QUOTED.sub(lambda sign: f"[{sign[0]}]", name)


def parted(text: str) -> tuple[list[str], str]:
    """Part "COLUMNS:LIKELIHOOD:KEYS" into the names or patterns of columns, and the rest.

    Args:
        text: the text.

    Returns:
        The patterns, and the rest, which may be empty.

    Example:
        >>> parted("crp,gene_*:normal:scale=1")
        (['crp', 'gene_*'], 'normal:scale=1')
    """
    head, *rest = _split(text, ":")
    return [part.strip() for part in _split(head, ",") if part.strip()], ":".join(rest)


def names_columns(text: str, arrays: Mapping[str, object]) -> bool:
    """Say whether what `--as` says names columns, rather than a likelihood.

    Args:
        text: what it says.
        arrays: the arrays by name.

    Returns:
        True if its part before the first colon is no likelihood, and has a comma or a wildcard, or is a column.
    """
    head = _split(text, ":")[0]
    if head in LIKELIHOODS or head in (*ASIDE, CONDITION):
        return False
    return any(sign in head for sign in ",*?[") or head in arrays


def with_quoted_addresses(text: str, groups: Collection[str]) -> str:
    """Put the colon of an address, `GROUP:COLUMN`, in brackets, so that it parts no likelihood from a name.

    Args:
        text: what `--as` says.
        groups: the names of the groups that there are.

    Returns:
        The text.

    Example:
        >>> with_quoted_addresses("gene:a,gene:c:normal", ["gene"])
        'gene[:]a,gene[:]c:normal'
    """
    words = (*LIKELIHOODS, *ASIDE, CONDITION)
    parts = [_split(part, ":") for part in _split(text, ",")]
    return ",".join(
        f"{part[0]}[:]{':'.join(part[1:])}" if len(part) > 1 and part[0] in groups and part[1] not in words
        else ":".join(part)
        for part in parts
    )  # fmt: skip


def said_of_each(name: str, text: str, columns: Collection[str]) -> dict[str, str]:
    """Part "COLUMN:LIKELIHOOD,COLUMN:LIKELIHOOD" into what is said of each column.

    Args:
        name: the name of the group.
        text: what `--as` says of it.
        columns: the names of the arrays, of which those of a group may be called `GROUP:COLUMN`.

    Returns:
        Column → what it is; empty if the text is of another form, such as "crp,alb:normal". A single plain column needs
        no group.

    Example:
        >>> said_of_each("clin", "age:normal,sex:categorical", [])
        {'age': 'normal', 'sex': 'categorical'}
    """
    pairs = [(head, ":".join(rest)) for head, *rest in (_split(part, ":") for part in _split(text, ","))]
    aside = (*LIKELIHOODS, *ASIDE, CONDITION)
    if any(not how or "=" in column or column in aside for column, how in pairs):
        return {}
    if len(pairs) == 1 and not any(column == name or column.startswith(f"{name}:") for column in columns):
        return {}
    return {IN_BRACKETS.sub(r"\1", column): how for column, how in pairs}


def matched(name: str, patterns: Sequence[str], columns: Sequence[str], *, strict: bool = True) -> list[str]:
    """Find the columns of a modality.

    Args:
        name: the name of the modality, for messages.
        patterns: names of columns, or patterns with * and ?.
        columns: the names that there are.
        strict: whether a name that is not there is an error.

    Returns:
        The columns, in the order of the patterns and, within each, of the table.

    Raises:
        UsageError: a pattern matches nothing.

    Example:
        >>> matched("gene", ["gene_*", "tp53"], ["age", "gene_b", "tp53", "gene_a"])
        ['gene_b', 'gene_a', 'tp53']
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        here = [pattern] if pattern in columns else [column for column in columns if fnmatchcase(column, pattern)]
        if not here and strict:
            listed = ", ".join(columns[:12]) + ", …" * (len(columns) > 12)
            raise UsageError(
                f"--as {name}: no column {pattern!r}; there are {listed}.{suggest(pattern, list(columns))}"
            )
        found |= dict.fromkeys(here)
    return list(found)


def legal_name(column: str) -> str:
    """Return a name for a modality that is as near as possible to that of a column.

    Args:
        column: the name of the column.

    Returns:
        The same name, with _ in place of what no name of a modality has, and behind names that programs use.

    Example:
        >>> [legal_name(name) for name in ("age", "Sepal.Length", "CRP (mg/l)", "type")]
        ['age', 'Sepal_Length', 'CRP_(mg_l)', 'type_']
    """
    name = "_".join(part for part in re.split(rf"[{re.escape(SIGNS)}\s]+", column) if part) or "column"
    return name + "_" * is_taken(name)


def owners(columns: Sequence[str], as_: Mapping[str, str], schema: Sequence[Modality] | None) -> dict[str, str]:
    """Say which modality each column will belong to.

    Args:
        columns: the names of the columns of a table.
        as_: name → what the user says about it.
        schema: the modalities of a run, or None.

    Returns:
        Column → the name of the modality, for those that the user or the run groups or calls by `legal_name`, or that
        say so themselves (`modality:feature`).
    """
    called = {*as_, *(m.name for m in schema or ())}
    found = {column: legal_name(column) for column in columns if column not in called and legal_name(column) in called}
    found |= {column: column.partition(":")[0] for column in columns if ":" in column}
    groups = {column.partition(":")[0] for column in columns if ":" in column}
    for name, text in as_.items():
        text = with_quoted_addresses(text, groups)
        if each := said_of_each(name, text, columns):
            found |= {column: name for column in columns if column in each}
        elif names_columns(text, dict.fromkeys(columns)):
            found |= dict.fromkeys(matched(name, parted(text)[0], columns, strict=False), name)
    named = {m.name for m in schema or ()}
    for m in schema or ():
        if m.group:
            own = {f"{m.group}:{feature}" for feature in m.features or ()}
            found |= {column: m.name for column in columns if column in own}
        found |= {feature: m.name for feature in m.features or () if feature not in named and feature in columns}
    return found


def _split(text: str, sign: str) -> list[str]:
    """Part a text at a sign, except where that stands in brackets."""
    return re.split(rf"{re.escape(sign)}(?!\])|(?<!\[){re.escape(sign)}", text)
