"""`mmppl evaluate`: how good the answers of one or several runs are."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AtAnswer, Json, OwnProgram, Root, Trust, choice, names, pairs
from .output import as_json, columns, number
from .progress import talk

SHARES = (
    "error", "share of", "baseline_error", "balanced_accuracy", "explained", "coverage", "calibration_error", "probe",
    "precision", "coherence", "judge_accuracy", "evidence_distrusted",
)  # fmt: skip
ELSEWHERE = ("collapse", "left_out", "nothing_seen")  # what has no row of the table


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are averaged.")],
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the data of the fit.")] = None,
    split: Annotated[str, typer.Option(metavar="PART", help="test, train, valid or all.")] = "test",
    metric: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Only metrics that begin so, such as error or rmse.noisy; all: everything."),
    ] = [],
    given: Annotated[
        list[str],
        typer.Option(metavar="a,b", help="Ask with these; again for another set; default: the subsets of modalities."),
    ] = [],
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of the latent per row.")] = 32,
    evidence_draws: Annotated[int, typer.Option(metavar="N", min=2, help="The same of the evidence.")] = 128,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the draws.")] = 0,
    set_: AtAnswer = [],
    root: Root = None,
    program: OwnProgram = None,
    trust: Trust = False,
    json: Json = False,
) -> str:
    """Judge RUN by what it is given: errors, calibration, generated modalities between their anchors, a baseline; what
    its latent knows of the labels (probe, precision, nmi).

    Only on request, since they may take minutes: coherence, whether generated modalities are of the class that was
    given, to classifiers that are trained once and kept in $MMPPL_CACHE; nll, each modality in nats beside training
    means; evidence, ln p of the other modalities by importance sampling.

    \b
    mmppl evaluate runs/cmmd
    mmppl evaluate runs/seed-0 runs/seed-1 runs/seed-2 --metric error
    mmppl evaluate runs/mopoe --metric probe --metric coherence --set answers=product
    """
    choice("--split", split, ("train", "valid", "test", "all"))
    changes, sets = pairs("--set", set_), [names(text) for text in given]
    import mmppl
    from mmppl.evaluation.evaluate import summarise
    from mmppl.runs.compare import unlike

    loaded = [mmppl.Run.load(path, program=program, trust=trust).answering(**changes) for path in runs]
    with talk() as say:
        options: dict[str, Any] = dict(split=split, metrics=metric or None, given_sets=sets or None, seed=seed)
        options |= dict(draws=draws, evidence_draws=evidence_draws, root=root, say=say)
        found = [mmppl.evaluate(run, data, **options) for run in loaded]
    if len(found) == 1:
        head = f"{found[0]['run']}: {found[0]['n']:,} {split} rows"
        return as_json(found[0]) if json else f"{head}\n\n{metric_table(found[0]['metrics'])}"
    both = summarise(found, unlike([run.info for run in loaded]))
    for note in both["notes"]:
        print(note, file=sys.stderr)
    head = f"{len(found)} runs, {split} rows: mean ± standard deviation"
    return as_json(both) if json else f"{head}\n\n{metric_table(both['mean'], both['sd'])}"


def metric_table(metrics: Mapping[str, Any], spread: Mapping[str, Any] | None = None) -> str:
    """One row per metric, one column per given-set where there are several; what is left is told below.

    Args:
        spread: standard deviations of the same shape, to stand behind a "±".
    """
    shown = {name: value for name, value in metrics.items() if name not in ELSEWHERE}
    told = dict.fromkeys(key for value in shown.values() if isinstance(value, Mapping) for key in value)
    asked = [key for key in metrics.get("nothing_seen") or () if key in told]
    sets = [*asked, *(key for key in told if key not in asked)]
    rows = [["given", *sets]] if sets else []
    for name, value in shown.items():
        by_set = value if isinstance(value, Mapping) else dict.fromkeys(sets[:1] or [""], value)
        around = (spread or {}).get(name)
        by_set_around = around if isinstance(around, Mapping) else dict.fromkeys(sets[:1] or [""], around)
        rows.append([name, *(_cell(name, by_set.get(key), by_set_around.get(key)) for key in sets or [""])])
    return "\n".join([columns(rows), *_remarks(metrics)])


def _cell(name: str, value: Any, spread: Any) -> str:
    if value is None:
        return ""
    share = name.startswith(SHARES)
    text = f"{value:.2%}" if share else number(float(value))
    if isinstance(spread, float):
        text += f" ± {spread:.2%}" if share else f" ± {spread:.2g}"
    return text


def _remarks(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if collapse := metrics.get("collapse"):
        eps, fraction = collapse["eps"][1], collapse["fraction"][1]
        lines.append(f"collapsed onto the prior (KL at most {eps:.2g} nats): {fraction:.0%} of the latent dimensions")
    if metrics.get("left_out"):
        lines.append(f"left out: {metrics['left_out']:g} rows that lack what the program conditions on")
    blind = {key: count for key, count in (metrics.get("nothing_seen") or {}).items() if count}
    if blind:
        counts = ", ".join(f"{key} {count:g}" for key, count in blind.items())
        lines.append(f"rows with none of what is given: {counts}")
    return [""] + lines if lines else []
