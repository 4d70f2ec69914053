"""`mmppl fit`: fit a program to data and leave a run folder."""

import os
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmppl.errors import MMPPLError, UsageError

from ..base.choices import DEVICES, PRECISIONS, SCHEDULES, choice
from ..base.text import columns, number, printable
from ..evaluation.tables import metric_table
from .options import As, Download, Json, Root, Use, pairs
from .output import as_json
from .progress import talk
from .query import example

if TYPE_CHECKING:
    from mmppl import Run

DRAWS = 16  # per test row, for the numbers at the end of a fit
TITLES = {"error": "error of ", "explained": "share of rmse explained, ", "rmse": "rmse of "}


class Interrupted(MMPPLError):
    """Ctrl-C during a fit."""

    exit_code = 130


def fit(
    context: typer.Context,
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="Program file or name of an installed one.")],
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the program's own.")] = None,
    root: Root = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder; default runs/<program>-<time>.")] = None,
    preset: Annotated[str | None, typer.Option(metavar="P", help="Settings by name; see `mmppl show PROGRAM`.")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter.")] = [],
    as_: As = [],
    hide: Annotated[float, typer.Option(metavar="RATE", help="Hide this share of the modalities at random.")] = 0.0,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Default: preset, then program.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Rows per step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Adam's learning rate.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="cosine|constant", help="Of the learning rate.")] = None,
    clip: Annotated[float | None, typer.Option(metavar="X", help="Bound of the gradient's norm.")] = None,
    patience: Annotated[int | None, typer.Option(metavar="N", help="Stop after N epochs without a better one.")] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option("--calibrate/--no-calibrate", help="Fit noise and temperatures to validation rows afterwards."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", help="Seed of the fit and of --hide; a split does not depend on it.")
    ] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    precision: Annotated[str | None, typer.Option(metavar="fp32|bf16")] = None,
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
    mmppl fit mvae --data mine.npz --set latent_dim=10 --hide 0.3 --out runs/mine
    """
    choice("--device", device, DEVICES)
    if schedule is not None:
        choice("--schedule", schedule, SCHEDULES)
    if precision is not None:
        choice("--precision", precision, PRECISIONS)
    if resume and out is None:
        raise UsageError("--resume: name the run folder to go on with, --out RUN.")
    folder = out or Path("runs") / f"{Path(program).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    hyper, likelihoods = pairs("--set", set_), pairs("--as", as_)
    try:
        import mmppl

        with talk() as log:
            run = mmppl.fit(
                program,
                data,
                hyper=hyper,
                preset=preset,
                epochs=epochs,
                batch_size=batch_size,
                lr=lr,
                schedule=schedule,  # type: ignore[arg-type]
                clip=clip,
                patience=patience,
                calibrate=calibrate,
                seed=seed,
                device=device,
                precision=precision,  # type: ignore[arg-type]
                threads=threads,
                out=folder,
                resume=resume,
                log=log,
                root=root,
                as_=likelihoods,
                hide=hide,
                download=download,
                use=use,
            )
            found = run.summary() | {"metrics": _test(run, root, log)}
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
    """Error of the classes, rmse of the numbers and the share of it explained, on the test rows; {} without any.

    Args: say: hears one line per conditioning set; all of them take minutes where rows and pixels are many.
    """
    from mmppl import DataError
    from mmppl.core.program import class_label
    from mmppl.evaluation.evaluate import evaluate

    wanted = []
    for m in map(run.program.modality, run.program.targets()):
        kinds = [m.family.error_metric]
        kinds += ["explained"] if kinds == ["rmse"] and class_label(run.program) else []
        wanted += [f"{kind}.{m.name}" for kind in kinds]
    try:
        metrics = evaluate(run, metrics=wanted, draws=DRAWS, root=root, log=log)["metrics"] if wanted else {}
    except DataError as error:  # a fit is good even where nothing is left to test it on
        log(f"no test: {error}")
        return {}
    return {name: metrics[name] for name in wanted if name in metrics}


def _text(found: dict[str, Any], run: "Run", program: str) -> str:
    rows = [["run", found["run"]], *([key, number(found[key])] for key in ("epochs", "seconds", "loss"))]
    parts = [columns(rows)]
    if found["metrics"]:
        numbers = sorted(found["metrics"].items(), key=lambda item: list(TITLES).index(item[0].partition(".")[0]))
        titled = {TITLES[name.partition(".")[0]] + name.partition(".")[2]: value for name, value in numbers}
        parts.append(f"test rows\n{metric_table(titled)}")
    own = None if _is_installed(run) else program
    parts.append(f"next: {printable(example(run, own))}")
    return "\n\n".join(parts)


def _is_installed(run: "Run") -> bool:
    """A query finds the program without being told where it is."""
    from mmppl import UntrustedError
    from mmppl.runs.trust import trusted_program

    try:
        return bool(run.folder and trusted_program(run.folder, run.record))
    except UntrustedError:
        return False
