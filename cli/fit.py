"""`mmppl fit`: fit a program to data and leave a run folder."""

import os
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmppl.errors import MMPPLError, UsageError

from ..base.choices import DEVICES, GRADIENTS, PRECISIONS, SCHEDULES, choice
from ..base.text import columns, number, printable
from ..evaluation.tables import lines_of, metric_table
from .options import As, Cache, Download, Json, Missing, Root, Schema, Store, Strict, Target, Use, pairs, schema_options
from .output import as_json
from .progress import talk
from .query import example

if TYPE_CHECKING:
    from mmppl import Run

ANCHORS = {
    "error_global": "the most frequent class",
    "error_linear": "logistic regression",
    "error_boosting": "gradient boosting",
    "rmse_global": "the training mean",
    "rmse_linear": "ridge regression",
    "rmse_boosting": "gradient boosting",
    "concordance_linear": "Weibull regression",
    "auc_linear": "logistic regression",
    "auc_boosting": "gradient boosting",
}
TITLES = {"error": "error of", "auc": "AUC of", "concordance": "concordance of", "rmse": "rmse of", "r2": "R² of"}
TITLES |= {"correlation_total": "correlation of z given each view"}


class Interrupted(MMPPLError):
    """Ctrl-C during a fit."""

    exit_code = 130


def fit(
    context: typer.Context,
    program: Annotated[
        str | None,
        typer.Argument(
            metavar="PROGRAM",
            help="Program file or name of an installed one; default: factors below 1,000 training rows, else mvae.",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the program's own.")] = None,
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder; default runs/<program>-<time>.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="P", help="Settings by name (`mmppl show PROGRAM`), or a TOML file.")
    ] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter.")] = [],
    term: Annotated[
        list[str],
        typer.Option(
            metavar="TERM", help="Add to the loss, e.g. tc.nwj:on=z,weight=0.1 (dependence of the modalities)."
        ),
    ] = [],
    as_: As = [],
    target: Target = None,
    missing: Missing = [],
    strict: Strict = False,
    schema: Schema = None,
    hide_cells: Annotated[
        float, typer.Option("--hide-cells", metavar="RATE", help="Hide this share of the single cells, and score them.")
    ] = 0.0,
    hide: Annotated[float, typer.Option(metavar="RATE", help="Hide this share of the modalities at random.")] = 0.0,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training rows, all taken.")] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Or gradient steps at most; default: by rows and parameters.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Rows per step; default: by the rows.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Adam's learning rate.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="cosine|constant", help="Of the learning rate.")] = None,
    clip: Annotated[float | None, typer.Option(metavar="X", help="Bound of the gradient's norm.")] = None,
    patience: Annotated[int | None, typer.Option(metavar="N", help="Stop after N epochs without a better one.")] = None,
    validation: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Hold out this share; 0: nothing. Default .1, or folds.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="K", help="Folds that choose the steps; default: 5 below 200 rows, else 1.")
    ] = None,
    refit: Annotated[
        bool | None,
        typer.Option("--refit/--no-refit", help="Then fit all rows; default: unless the data have validation rows."),
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option("--calibrate/--no-calibrate", help="Fit noise and temperatures to validation rows afterwards."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", help="Seed of the fit and of --hide; a split does not depend on it.")
    ] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    precision: Annotated[str | None, typer.Option(metavar="fp32|bf16")] = None,
    gradients: Annotated[
        str | None,
        typer.Option(metavar="RULE", help=f"Combine those of decoders that share a latent: {', '.join(GRADIENTS)}."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of the processor; default: one for small networks, else all.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped fit in --out was.")] = False,
    download: Download = False,
    use: Use = [],
    json: Json = False,
) -> str:
    """Fit PROGRAM and leave a run folder; then tell how well it does on the test rows.

    \b
    mmppl fit cmmd
    mmppl fit --data mine.npz
    mmppl fit --data patients.csv --schema patients.toml
    mmppl fit mvae --data mine.npz --set latent_dim=10 --hide 0.3 --out runs/mine
    """
    choice("--device", device, DEVICES)
    if schedule is not None:
        choice("--schedule", schedule, SCHEDULES)
    if precision is not None:
        choice("--precision", precision, PRECISIONS)
    if gradients is not None:
        choice("--gradients", gradients, GRADIENTS)
    if resume and out is None:
        raise UsageError("--resume: name the run folder to go on with, --out RUN.")
    if program is None and data is None:
        raise UsageError("fit: name a program, or data (--data FILE), for which one is then chosen.")
    folder = out or Path("runs") / f"{Path(program or data or '').stem}-{datetime.now():%Y%m%d-%H%M%S}"
    hyper, said = pairs("--set", set_), schema_options(schema, as_, missing, target)
    try:
        import mmppl

        with talk() as log:
            run = mmppl.fit(
                program,
                data,
                hyper=hyper,
                terms=term,
                preset=preset,
                epochs=epochs,
                steps=steps,
                batch_size=batch_size,
                lr=lr,
                schedule=schedule,  # type: ignore[arg-type]
                clip=clip,
                patience=patience,
                validation=validation,
                folds=folds,
                refit=refit,
                calibrate=calibrate,
                seed=seed,
                device=device,
                precision=precision,  # type: ignore[arg-type]
                gradients=gradients,  # type: ignore[arg-type]
                threads=threads,
                out=folder,
                resume=resume,
                log=log,
                root=root,
                hide=hide,
                hide_cells=hide_cells,
                download=download,
                use=use,
                strict=strict,
                **said,
            )
            found = run.summary() | _test(run, root, log)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_resume(folder, context.obj)) from None
    return as_json(found) if json else _text(found, run, program)


def _how_to_resume(folder: Path, words: Sequence[str]) -> str:
    """The command line that was given, completed so that it goes on in `folder`."""
    if not os.path.isfile(folder / "run.json"):
        return "interrupted before the fit began; nothing is kept"
    words = [word for word in words if word != "--resume"]
    named = any(word == "--out" or word.startswith("--out=") for word in words)
    line = shlex.join(["mmppl", *words, *([] if named else ["--out", str(folder)]), "--resume"])
    return f"interrupted; go on with: {line}"


def _test(run: "Run", root: Path | None, log: Callable[[str], None]) -> dict[str, Any]:
    """Errors on the test rows beside those of anchors, the number of rows, and what is wrong."""
    from mmppl.evaluation.after_fit import after_fit

    epochs, batch_size = run.summary()["epochs"], run.record.training["batch_size"]
    return after_fit(run, epochs=epochs, batch_size=batch_size, root=root, log=log)


def _text(found: dict[str, Any], run: "Run", program: str | None) -> str:
    rows = [["run", found["run"]], *([key, number(found[key])] for key in ("steps", "seconds", "loss"))]
    parts = [columns(rows)]
    if found["metrics"]:
        titles = {name: _title(name) for name in found["metrics"]}
        parts.append(f"test rows\n{metric_table(found['metrics'], n=found['n'], titles=titles)}")
    parts += lines_of(found["warnings"])
    own = None if _is_installed(run) else program
    parts.append(f"next: {printable(example(run, own))}")
    return "\n\n".join(parts)


def _title(name: str) -> str:
    metric, _, of = name.partition(".")
    return f"  {ANCHORS[metric]}" if metric in ANCHORS else f"{TITLES.get(metric, metric)} {of}"


def _is_installed(run: "Run") -> bool:
    """A query finds the program without being told where it is."""
    from mmppl import UntrustedError
    from mmppl.runs.trust import trusted_program

    try:
        return bool(run.folder and trusted_program(run.folder, run.record))
    except UntrustedError:
        return False
