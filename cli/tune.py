"""`mmppl tune`: search settings of a program on held-out rows."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mmppl.errors import UsageError

from ..base.choices import DEVICES, choice
from ..base.text import columns, number, printable
from ..evaluation.tables import lines_of
from .fit import Interrupted
from .options import (
    As,
    Cache,
    Download,
    Json,
    Missing,
    Root,
    Schema,
    Store,
    Strict,
    Target,
    Use,
    names,
    pairs,
    schema_options,
)
from .output import as_json, to_go_on
from .progress import talk

DIRECTIONS = ("min", "max")
OF_SEARCH = (  # options that a fit has not, or that the preset file takes the place of
    "--search", "--trials", "--study", "--jobs", "--timeout", "--metric", "--direction", "--given", "--folds",
    "--preset",
)  # fmt: skip
FLAGS = ("--test", "--no-test", "--json")


def tune(
    context: typer.Context,
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="Program file or name of an installed one.")],
    search: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=LOW..HIGH",
            help="What is searched, e.g. latent_dim=8..64,lr=1e-4..1e-2:log or kernel=paper|mixture; may be repeated.",
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the program's own.")] = None,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials in all, with those that are there.")] = 40,
    study: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the trials, which goes on if it has some.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Processes beside each other.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Begin no trial after so many seconds.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of `mmppl evaluate`; default: log loss of the label, or nats.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="min|max", help="Which values of a metric of your own are better.")
    ] = None,
    given: Annotated[
        list[str],
        typer.Option(metavar="a,b", help="Answer from this set; may be repeated; default: all that a row has."),
    ] = [],
    folds: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Cross-validate; default: the validation rows, 5 folds of few rows."),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="At the end, score the best and the default on the test rows.")
    ] = True,
    preset: Annotated[str | None, typer.Option(metavar="P", help="Settings by name, or a TOML file.")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of all.")] = [],
    term: Annotated[list[str], typer.Option(metavar="TERM", help="Add to the loss of all, as of fit.")] = [],
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes of each fit.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Or gradient steps at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Rows per step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Adam's learning rate.")] = None,
    calibrate: Annotated[
        bool | None, typer.Option("--calibrate/--no-calibrate", help="Calibrate each fit afterwards.")
    ] = None,
    as_: As = [],
    target: Target = None,
    missing: Missing = [],
    strict: Strict = False,
    schema: Schema = None,
    hide: Annotated[float, typer.Option(metavar="RATE", help="Hide this share of the modalities at random.")] = 0.0,
    hide_cells: Annotated[
        float, typer.Option("--hide-cells", metavar="RATE", help="Hide this share of the single cells.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the search, the fits and the draws.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(metavar="N", help="Of the processor, of each fit.")] = None,
    download: Download = False,
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    use: Use = [],
    json: Json = False,
) -> str:
    """Search settings of PROGRAM: each trial fits them, and answers about validation rows that its fit did not see (or
    folds). The first trial has the default settings. The best are written to DIR/best.toml, for `fit --preset`, and
    scored on the test rows once. A killed search goes on with the same command. Takes pip install 'mmppl[tune]'.

    \b
    mmppl tune cmmd --search omega=0..1 --trials 12 --study runs/omega
    mmppl tune mvae --data mine.npz --search latent_dim=8..64:log,beta=0.1..4:log --folds 5 --jobs 2 --study runs/mine
    mmppl fit mvae --data mine.npz --preset runs/mine/best.toml
    """
    choice("--device", device, DEVICES)
    if direction is not None:
        choice("--direction", direction, DIRECTIONS)
    if not any(search):
        raise UsageError("--search: it names no setting; write NAME=LOW..HIGH or NAME=A|B.")
    folder = study or Path("runs") / f"tune-{Path(program).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    settings: dict[str, Any] = dict(epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, calibrate=calibrate)
    of_data = schema_options(schema, as_, missing, target)
    try:
        import mmppl

        with talk() as log:
            found = mmppl.tune(
                program,
                data,
                search=search,
                trials=trials,
                metric=metric,
                direction=direction,  # type: ignore[arg-type]
                conditioning_sets=[names(text) for text in given] or None,
                folds=folds,
                jobs=jobs,
                timeout=timeout,
                test=test,
                out=folder,
                hyper=pairs("--set", set_),
                preset=preset,
                seed=seed,
                log=log,
                root=root,
                hide=hide,
                hide_cells=hide_cells,
                download=download,
                strict=strict,
                terms=term,
                device=device,
                threads=threads,
                use=use,
                **of_data,
                **settings,
            )
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(folder, context.obj)) from None
    return as_json(found) if json else _text(found, context.obj)


def _how_to_go_on(folder: Path, words: Sequence[str]) -> str:
    """The command line that was given, completed so that it goes on in `folder`."""
    if not (folder / "study.db").is_file():
        return "interrupted before the first trial; nothing is kept"
    return to_go_on(words, "--study", folder)


def _fit(words: Sequence[str], preset: str) -> str:
    """The command line that fits what was found: the options of data and of fits are those that were given."""
    kept, drop = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if drop or name in FLAGS or name in OF_SEARCH:
            drop = not drop and name in OF_SEARCH and not equals
            continue
        kept.append(word)
    at = kept.index("tune")
    return shlex.join(["mmppl", *kept[:at], "fit", *kept[at + 1 :], "--preset", preset])


def _text(found: Mapping[str, Any], words: Sequence[str]) -> str:
    """The best settings beside the default ones."""
    best, default, test = found["best"], found["default"], found["test"]
    better = {"min": "smaller", "max": "larger"}[found["direction"]]
    rows = [["", "default", f"best (trial {best['trial']})"]]
    held_out = f"{found['held_out']['rows']:,} held-out rows"
    rows.append([held_out, number(default and default["value"]), number(best["value"])])
    if test is not None:
        rows.append([f"{test['rows']:,} test rows", number(test["default"]), number(test["best"])])
    for name in found["search"]:
        rows.append([name, *(_value(one["searched"].get(name)) if one else "-" for one in (default, best))])
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    parts = [
        f"{found['metric']} given {found['given']} ({better} is better)",
        columns(rows),
        f"trials: {counts}; {found['study']}/trials.csv",
    ]
    if found["importance"]:
        shares = sorted(found["importance"].items(), key=lambda item: -item[1])
        parts.append("share of the variance explained by " + ", ".join(f"{n} {share:.0%}" for n, share in shares))
    parts += lines_of(found["warnings"])
    parts.append(f"next: {_fit(words, found['preset'])}")
    return printable("\n\n".join(parts), keep="\n")


def _value(value: Any) -> str:
    return "none" if value is None else number(value)
