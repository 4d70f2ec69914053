"""`mmppl show`: describe a program or a run."""

import inspect
import itertools
import os
import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmppl.errors import UsageError, suggest

from ..base.text import columns, number, printable
from .options import Json
from .output import as_json
from .query import example

if TYPE_CHECKING:
    from mmppl import Modality, Program
    from mmppl.kernels.codegen.generate import Formula
    from mmppl.runs.calibration import Calibration
    from mmppl.runs.record import RunRecord

CODE = {"torch": "", "triton": "_triton"}  # what is generated from a formula → suffix of its file


def show(
    what: Annotated[str, typer.Argument(metavar="PROGRAM|RUN", help="A program (name or file) or a run folder.")],
    kernels: Annotated[
        bool, typer.Option("--kernels", help="List the formulas that the program's kernels are generated from.")
    ] = False,
    kernel: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print the source generated from this formula.")
    ] = None,
    json: Json = False,
) -> str:
    """Show the hyper-parameters and presets of a program, or the settings of a run and how to ask it.

    Nothing in a run is executed.

    \b
    mmppl show cmmd
    mmppl show runs/cmmd
    mmppl show cmmd --kernels
    mmppl show cmmd --kernel bernoulli
    """
    if os.path.isdir(what):
        if kernels or kernel is not None:
            raise UsageError(f"{what} is a run; --kernels and --kernel want its program.")
        from mmppl.runs.record import read_record

        record = read_record(Path(what))
        return as_json({"run": what, **record.to_json()}) if json else _run_text(Path(what), record)
    from mmppl.core.loading import installed_programs, load_program

    known = sorted(installed_programs())
    if what not in known and not os.path.isfile(what):
        raise UsageError(f"no program or run {what!r}; programs: {', '.join(known)}.{suggest(what, known)}")
    cls = load_program(what)
    if kernels or kernel is not None:
        return _kernels(kernel, json)
    found = _program(cls)
    return as_json(found) if json else _program_text(found)


def _program(cls: "type[Program]") -> dict[str, Any]:
    """Describe a program by what its class tells."""
    from mmppl.core.hyperparameters import hyper_parameters, options_of

    about, described = _docstring(inspect.cleandoc(cls.__doc__ or ""))
    for options in options_of(cls.__init__).values():
        described = _docstring(inspect.cleandoc(options.__doc__ or ""))[1] | described
    return {
        "program": cls.__name__,
        "about": about,
        "hyper": {
            name: {
                "type": _type(parameter),
                "default": None if parameter.default is parameter.empty else parameter.default,
                "about": described.get(name, ""),
            }
            for name, parameter in hyper_parameters(cls).items()
        },
        "training": cls.training,
        "query_options": cls.query_options,
        "presets": cls.presets,
        "default_data": cls.default_data,
    }


def _kernels(name: str | None, json: bool) -> str:
    """The formulas that are known once a program has been loaded, or the generated source of one."""
    from mmppl.kernels.codegen.generate import FORMULAS
    from mmppl.modalities.likelihoods.registry import LIKELIHOODS

    for likelihood in LIKELIHOODS:
        LIKELIHOODS[likelihood]  # imported here: a program that is only shown has not needed them
    if name is not None and name not in FORMULAS:
        raise UsageError(f"no formula {name!r}; known are {', '.join(FORMULAS)}.{suggest(name, list(FORMULAS))}")
    known = [_generated(formula) for key, formula in FORMULAS.items() if name in (None, key)]
    if json:
        return as_json({"kernels": known})
    if name is None:
        return columns([[g["name"], g["formula"], g["torch_path"]] for g in known])
    return "\n\n".join(f"# {g[f'{code}_path']}\n{g[f'{code}_source'].strip()}" for g in known for code in CODE)


def _generated(formula: "Formula") -> dict[str, str]:
    """A formula, where its modules lie, and their text; generated here if it was not yet."""
    texts = {f"{code}_source": formula.source(suffix) for code, suffix in CODE.items()}
    paths = {f"{code}_path": str(formula.path(suffix)) for code, suffix in CODE.items()}
    return {"name": formula.name, "formula": formula.text, **paths, **texts}


def _type(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return "" if parameter.default in (parameter.empty, None) else type(parameter.default).__name__
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation).replace("typing.", "")


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the text before the sections of a docstring, and name → description from Args (also "a, b: both")."""
    about, _, rest = text.partition("\nArgs:\n")
    about = re.split(r"\n[A-Z][A-Za-z ]+:\n", about)[0]
    section = itertools.takewhile(lambda line: line.startswith(" ") or not line, rest.splitlines())
    described: dict[str, str] = {}
    current: list[str] = []
    for line in textwrap.dedent("\n".join(section)).splitlines():
        entry = re.match(r"(\w+(?:, \w+)*): +(.*)", line)
        if entry:
            current = entry[1].split(", ")
            described |= dict.fromkeys(current, entry[2].strip())
        elif line:
            described |= {name: f"{described[name]} {line.strip()}" for name in current}
    return about.strip(), described


def _program_text(found: dict[str, Any]) -> str:
    rows = [[f"  {name}", f"{h['type']} = {h['default']}", h["about"]] for name, h in found["hyper"].items()]
    parts = [
        f"{found['program']}: {found['about']}",
        f"hyper-parameters (--set NAME=VALUE)\n{columns(rows)}" if rows else "no hyper-parameters",
        f"training  {_settings(found['training'])}",
    ]
    if found["query_options"]:
        parts.append(f"on a run, too (query, evaluate, plot --set)  {', '.join(found['query_options'])}")
    if found["presets"]:
        presets = [[f"  {name}", _settings(preset)] for name, preset in found["presets"].items()]
        parts.append(f"presets (--preset NAME)\n{columns(presets)}")
    if found["default_data"]:
        parts.append(f"default data  {found['default_data']}")
    return "\n\n".join(parts)


def _run_text(path: Path, record: "RunRecord") -> str:
    data, result = record.data, record.result
    schema = [
        [
            f"  {m.name}",
            m.role,
            "×".join(map(str, m.shape)) or "one number",
            m.likelihood,
            f"transform {m.transform}",
            _particulars(m),
        ]
        for m in record.modalities
    ]
    asked = {"root": data.root, "as": data.declared, "hide": data.hide, "hide_cells": data.hide_cells}
    options = {name: value for name, value in asked.items() if value}
    rows = [
        ["program", f"{record.program.name} (sha256 {record.program.sha256[:12]})"],
        ["data", f"{data.spec or 'arrays in memory'}, {data.n:,} rows  {_settings(options)}"],
        ["hyper", _settings(record.hyper) or "defaults"],
        *[["term", printable(term)] for term in record.terms],
        ["training", _settings(record.training)],
        ["seed", str(record.seed)],
        ["status", record.status if record.status == "done" else f"{record.status}: go on with fit --resume"],
    ]
    if result is not None:
        chosen = "" if result.selected_step is None else f", step {result.selected_step:,} chosen on held-out rows"
        taken = f"{result.steps:,} (of {result.steps_taken:,} taken{chosen})"
        rows += [["steps", taken], ["seconds", number(result.seconds)], ["loss", number(result.loss)]]
        rows += [[f"  {name}", f"{number(v)} × {number(result.weights[name])}"] for name, v in result.terms.items()]
        rows += [[name, number(value)] for name, value in result.metrics.items()]
        if result.calibration is not None:
            rows += _calibration(result.calibration)
    return f"{printable(path)}\n{columns(rows)}\n\nmodalities\n{columns(schema)}\n\n{_how_to_ask(path)}"


def _particulars(m: "Modality") -> str:
    """What else is to be known of a modality, in a few words."""
    words = ["a sequence"] if m.sequence else []
    words += ["lacks single cells"] if m.gaps else []
    words += [f"size factor, mean {number(m.size_factor[0])}"] if m.size_factor is not None else []
    words += [f"df {number(m.df)}"] if m.df is not None else []
    words += [f"order {' < '.join(map(str, m.classes))}"] if m.likelihood == "ordinal" and m.classes else []
    words += [f"event in {m.event}"] if m.event else []
    words += [f"part of {m.group}"] if m.group else []
    return printable("; ".join(words))


def _calibration(found: "Calibration") -> list[list[str]]:
    """What calibration has changed, and what it has gained under each given set."""
    changed = {"noise ×": found.noise, "temperature": found.temperature, "exponents": found.exponents}
    told = [f"{title} {_settings(values)}" for title, values in changed.items() if values]
    rows = [["calibrated", f"on {found.rows:,} held-out rows: {'; '.join(told) or 'nothing to gain'}"]]
    for given, before in found.before.items():
        rows.append([f"  given {printable(given)}", f"{number(before)} to {number(found.after[given])} nats"])
    return rows


def _how_to_ask(path: Path) -> str:
    """Return the query line, or the reason why there is none."""
    import mmppl

    try:
        return f"ask: {printable(example(mmppl.Run.load(path)))}"
    except mmppl.UntrustedError:
        line = shlex.join(["mmppl", "query", str(path), "--program", "FILE"])
        return f"ask: {printable(line)}\n(its program is not an installed one: FILE is your own copy of it)"
    except mmppl.MMPPLError as error:
        return f"cannot be asked: {printable(error)}"


def _settings(settings: dict[str, Any]) -> str:
    text = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return "  ".join(printable(f"{name}={value}") for name, value in text.items())
