"""`mmppl plot`: draw the figures of a run, or one term of several runs in one picture."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmppl.errors import UsageError

from ..base.text import printable
from .options import Cache, Json, OwnProgram, QueryOptions, Root, Store, Trust, Use, pairs
from .output import as_json
from .progress import talk


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folder; with --term, one or several.")],
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the data of the fit.")] = None,
    figure: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Only this figure: loss, generated, reconstructions, latent, traversals, styles, coherence.",
        ),
    ] = [],
    term: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Draw this term, e.g. w2, over the epochs of all RUNs, in one picture."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture of --term; default RUN/figures/term.NAME.png.")
    ] = None,
    set_: QueryOptions = [],
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    program: OwnProgram = None,
    use: Use = [],
    trust: Trust = False,
    json: Json = False,
) -> str:
    """Write the figures of RUN into RUN/figures: losses, generated beside true values, reconstructions, the latent
    space and its single axes, and, if images have private latents, contents in several styles.

    Coherence is drawn, too, once `mmppl evaluate RUN --metric coherence` has trained the classifiers of its data.

    \b
    mmppl plot runs/cmmd
    mmppl plot runs/fmwvae --figure styles --figure traversals
    mmppl plot runs/aligned runs/unaligned --term w2 --out w2.png
    """
    if term is None and len(runs) > 1:
        raise UsageError("several runs have a common picture of a term only; add --term NAME, such as w2.")
    if term is None and out is not None:
        raise UsageError("--out is the picture of --term; the figures of a run go into RUN/figures.")
    if term is not None and figure:
        raise UsageError("--term draws a picture of its own; leave --figure out.")
    changes = pairs("--set", set_)
    import mmppl
    from mmppl.figures.training_curves import plot_term
    from mmppl.runs.storage import figures_folder

    loaded = [mmppl.Run.load(path, program=program, trust=trust, use=use).with_options(**changes) for path in runs]
    if term is not None:
        for warning in (warning for run in loaded for warning in run.unfinished):
            print(warning, file=sys.stderr)
        file = plot_term(loaded, term, out or figures_folder(runs[0]) / f"term.{term}.png")
        found = {"runs": [str(path) for path in runs], "term": term, "figures": [file]}
        return as_json(found) if json else printable(file)
    with talk() as log:
        files = loaded[0].plot(data, figures=figure or None, root=root, log=log)
    return as_json({"run": str(runs[0]), "figures": files}) if json else "\n".join(map(printable, files))
