"""Options that several commands share: their declarations, and functions that parse them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mmppl.base.parsing import names as names
from mmppl.base.parsing import size as size
from mmppl.errors import UsageError

from ..base.choices import STORES, choice

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Root = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with the files that a recipe needs; default $MMPPL_DATA.")
]
As = Annotated[
    list[str],
    typer.Option(
        "--as",
        metavar="NAME=LIKELIHOOD",
        help="Read an array as bernoulli, normal, ..., as a condition, annotation, group, time or the ids, or ignore "
        "it; or make one of columns, NAME=COLUMN,COLUMN or NAME='gene_*', with :LIKELIHOOD behind them if you like.",
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Let a recipe download its files.")]
Missing = Annotated[
    list[str],
    typer.Option(
        "--missing",
        metavar="NAME=VALUES",
        help="What stands for missing in an array: -9,-99 or Unknown, or zero-rows; NAME= keeps everything.",
    ),
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="What is to be predicted; all else are inputs.")
]
Schema = Annotated[
    Path | None,
    typer.Option("--schema", metavar="FILE", help="Schema file that says what each column is; `mmppl data` writes it."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse data in which something is suspected.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that a fit has written.")]
QueryOptions = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A hyper-parameter that only answers depend on, e.g. style of fmwvae."
    ),
]
OwnProgram = Annotated[
    Path | None, typer.Option("--program", metavar="FILE", help="Your own copy of the run's program; it is executed.")
]
Use = Annotated[
    list[Path],
    typer.Option(
        "--use", metavar="FILE", help="Your own file that registers a likelihood, reader, recipe, metric or figure."
    ),
]


def _keep_in(store: str | None) -> None:
    if store is not None:
        os.environ["MMPPL_STORE"] = choice("--store", store, STORES)


def _cache_in(folder: Path | None) -> None:
    if folder is not None:
        os.environ["MMPPL_CACHE"] = str(folder)


Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="auto|memory|disk",
        help="Where data are kept; auto: on disk what exceeds a quarter of the free memory.",
        callback=_keep_in,
        expose_value=False,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder for what is converted or compiled once; default $MMPPL_CACHE.",
        callback=_cache_in,
        expose_value=False,
    ),
]
Trust = Annotated[bool, typer.Option("--trust-program", help="Execute RUN/program.py, whoever wrote it.")]


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Parse NAME=VALUE, several times.

    Args:
        option: the name of the option, for messages.
        texts: the texts.

    Returns:
        name → value.

    Raises:
        UsageError: a text has another form.
    """
    parted = {text: text.partition("=") for text in texts}
    for text, (name, equals, _) in parted.items():
        if not name or not equals:
            raise UsageError(f"{option} {text}: expected NAME=VALUE.")
    given = [name.strip() for name, _, _ in parted.values()]
    for name in given:
        if option == "--as" and given.count(name) > 1:
            raise UsageError(f"--as {name}: it is given twice; write one, such as {name}=COLUMN,COLUMN:LIKELIHOOD.")
    return {name.strip(): value.strip() for name, _, value in parted.values()}


def schema_options(
    schema: Path | None, as_: Sequence[str], missing: Sequence[str], target: str | None
) -> dict[str, Any]:
    """Put together what --schema, --as, --missing and --target say; the latter come first.

    Args:
        schema: a schema file, or None.
        as_: texts of --as.
        missing: texts of --missing.
        target: that of --target.

    Returns:
        Keyword arguments of `mmppl.read` and `mmppl.fit`.

    Raises:
        UsageError: a text has another form.
        DataError: the schema file is wrong.
    """
    said: dict[str, Any] = {"as_": pairs("--as", as_), "missing": values(missing), "target": target}
    if schema is None:
        return said
    from mmppl.data.schema.schema_file import read_schema

    return read_schema(schema).options(**said)


def values(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parse --missing NAME=VALUE,VALUE, several times.

    Args:
        texts: the texts.

    Returns:
        name → the values, as texts.

    Raises:
        UsageError: a text has another form.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        for name, listed in pairs("--missing", [text]).items():
            found[name] = found.get(name, []) + [value.strip() for value in listed.split(",") if value.strip()]
    return found


def rows(text: str | None) -> slice | None:
    """Parse A:B, either end of which may be left out, or the number of one row.

    Args:
        text: the text, or None.

    Returns:
        A slice, or None.

    Raises:
        UsageError: the text has another form.
    """
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        start = int(first or 0) if colon else int(first)
        stop = (int(last) if last else None) if colon else start + 1
    except ValueError:
        raise UsageError(f"--rows {text}: expected A:B, two row numbers such as 0:5.") from None
    return slice(start, stop)
