"""`mmppl data`: list the recipes, or describe a file or recipe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.text import columns, number, printable
from ..errors import UsageError
from .options import As, Cache, Download, Json, Missing, Root, Strict, Target, Use, schema_options
from .output import as_json


def data(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[D]",
            help="A file (.npz, .csv, ...), a folder or .zip of recordings, or a recipe.",
            show_default=False,
        ),
    ] = None,
    root: Root = None,
    as_: As = [],
    target: Target = None,
    missing: Missing = [],
    strict: Strict = False,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what was understood into a schema file; if it is there, read it."),
    ] = None,
    download: Download = False,
    use: Use = [],
    convert: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="FILE.pkl OUT.npz", help="Convert the plain data in a pickle; nothing is executed."),
    ] = None,
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Remove converted data from the cache folder that no process uses.")
    ] = False,
    cache: Cache = None,
    json: Json = False,
) -> str:
    """List the recipes, or describe D: shapes, likelihoods, gaps, splits, what is suspicious; or convert a pickle.

    \b
    mmppl data
    mmppl data digits-two-view:rotate=fresh
    mmppl data mine.npz --as age=normal
    mmppl data patients.csv --as 'lab=crp,alb*' --schema patients.toml
    mmppl data mine.npz --target outcome --missing lab=-9,-99
    mmppl data recordings/
    mmppl data --convert mosi_raw.pkl mosi_raw.npz
    """
    if clear_cache:
        return _cleared(data, json)
    if convert is not None:
        from mmppl.data.convert import convert_pickle

        if data is not None:
            raise UsageError(f"data: describe {data} or convert a pickle, not both; leave one of them out.")
        shapes = convert_pickle(*convert)
        if json:
            return as_json({"file": str(convert[1]), "arrays": {name: list(shape) for name, shape in shapes.items()}})
        rows = [[printable(name), "×".join(map(str, shape))] for name, shape in shapes.items()]
        return f"{printable(str(convert[1]))}\n\n{columns(rows)}"
    if use:
        from mmppl.core.loading import use_file

        for file in use:
            use_file(file)
    if data is None:
        from mmppl.data.recipes.registry import recipes

        if json:
            return as_json(
                {"recipes": [{"name": name, "about": line, "needs": needs} for name, line, needs in recipes()]}
            )
        return columns([(name, line, f"needs {needs}") for name, line, needs in recipes()])
    import mmppl

    written = schema is not None and not schema.exists()
    how = schema_options(None if written else schema, as_, missing, target)
    dataset = mmppl.read(data, root=root, download=download, strict=strict, **how)
    if written and schema is not None:
        from mmppl.data.schema.schema_file import write_schema

        write_schema(dataset, schema)
    found = dataset.describe()
    if json:
        return as_json(found)
    shown = f"\n\nwrote {printable(str(schema))}: edit it, and give it back with --schema" if written else ""
    return _text(found) + shown


def _cleared(data: str | None, json: bool) -> str:
    """Remove converted data, and return what is printed of that."""
    if data is not None:
        raise UsageError(f"data: describe {data} or clear the cache, not both; leave one of them out.")
    from mmppl.base.text import size_in_words
    from mmppl.data.mapped.unused import forget_unused
    from mmppl.kernels.codegen.cache import cache_folder

    folder = cache_folder() / "data"
    freed, left = forget_unused(folder)
    if json:
        return as_json({"folder": str(folder), "freed": freed, "left": left})
    rest = f"; {size_in_words(left)} are in use, and stay" if left else ""
    return f"{printable(str(folder))}: {size_in_words(freed)} of converted data removed{rest}"


def _text(found: dict[str, Any]) -> str:
    split = ", ".join(f"{part} {count:,}" for part, count in found["split"].items())
    head = f"{printable(found['name'])}: {found['n']:,} rows ({split}{'' if found['has_split'] else '; drawn here'})"
    rows = [["name", "role", "shape", "likelihood", "transform", "observed"]]
    for m in found["modalities"]:
        kind = m["likelihood"] if m["scale"] is None else f"{m['likelihood']}, scale {m['scale']}"
        classes = m["classes"]
        shown = "" if classes is None else f"{len(classes)} classes: {', '.join(map(str, classes[:12]))}"
        shown += ", ..." if classes is not None and len(classes) > 12 else ""
        shape = "×".join(map(str, m["shape"])) or "one number"
        if "lengths" in m:
            shown = f"sequence of {_steps(m['lengths'])}{'; ' * bool(shown)}{shown}"
        if m.get("cells", 1) < 1:
            shown = f"{m['cells']:.1%} of the cells{'; ' * bool(shown)}{shown}"
        rows.append([m["name"], m["role"], shape, kind, m["transform"], f"{m['observed']:.1%}", shown])
    patterns = [[name.replace("+", " + "), number(count)] for name, count in found["patterns"].items()]
    if found["empty_rows"]:
        patterns.append(["(no modality at all)", number(found["empty_rows"])])
    beside = [[f"  {printable(one['name'])}", one["kind"], _distinct(one)] for one in found["annotations"]]
    few = patterns[:16] + ([[f"({len(patterns) - 16} more)"]] if len(patterns) > 16 else [])
    text = f"{head}\n\n{columns(rows)}\n\nrows that have\n{columns([['  ' + p[0], *p[1:]] for p in few])}"
    text += f"\n\nannotations, which no program sees\n{columns(beside)}" if beside else ""
    text += "".join(f"\n\n{printable(note)}" for note in found["notes"])
    for title, suspected in (("suspected", True), ("to know", False)):
        lines = [f"  {printable(f['text'])}" for f in found["findings"] if f["suspected"] == suspected]
        text += "\n\n" + "\n".join([title, *lines]) if lines else ""
    return text


def _steps(lengths: list[float]) -> str:
    """The least, the median and the most steps in words."""
    return "{0:g} to {2:g} steps, median {1:g}".format(*lengths) if lengths else "no steps"


def _distinct(annotation: dict[str, Any]) -> str:
    if annotation["true"] is not None:
        return f"true in {annotation['true']:.1%}"
    shown = ", ".join(printable(str(value))[:40] for value in annotation["values"][:6])
    return f"{annotation['distinct']:,} distinct: {shown}{', ...' if annotation['distinct'] > 6 else ''}"
