"""`mmppl query`: ask a run about rows of data."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmppl.errors import MMPPLError

from ..base.choices import METHODS, PRECISIONS, SPLITS, choice
from ..base.text import printable
from ..inference.defaults import default_want, labels_and_modalities
from ..inference.formats.files import IN_BLOCKS, WRITERS, check_file
from .options import Cache, Json, OwnProgram, QueryOptions, Root, RunFolder, Store, Trust, Use, names, pairs, rows, size
from .output import as_json
from .progress import say

if TYPE_CHECKING:
    from mmppl import Run


def query(
    run: RunFolder,
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the data of the fit.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="PART", help="test, train, valid or all; default: test, or all of a --data.")
    ] = None,
    rows_: Annotated[str | None, typer.Option("--rows", metavar="A:B", help="Only rows A to B-1 of that part.")] = None,
    given: Annotated[
        list[str],
        typer.Option(
            metavar="a,b",
            help="Names to condition on; default: what each row has, without what is wanted; --given= asks the prior.",
        ),
    ] = [],
    want: Annotated[
        list[str],
        typer.Option(
            metavar="c,z", help="Modalities, labels, z, importance or evidence; default: labels and what is not given."
        ),
    ] = [],
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of the latent per row.")] = 64,
    method: Annotated[str, typer.Option(metavar="guide|importance", help="How the latent is inferred.")] = "guide",
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the draws.")] = 0,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory for the work, e.g. 500MB; what exceeds it is computed in parts.")
    ] = "2GB",
    precision: Annotated[
        str, typer.Option(metavar="fp32|bf16", help="Of the networks' matrix products; bf16 is faster, less exact.")
    ] = "fp32",
    only_missing: Annotated[
        bool,
        typer.Option("--only-missing", help="Keep what rows have; predict only what they lack, from all they have."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Write the answer to a file ({', '.join(WRITERS)}).")
    ] = None,
    set_condition: Annotated[
        list[str],
        typer.Option("--set-condition", metavar="NAME=VALUE", help="Predict as if a condition had this value."),
    ] = [],
    set_: QueryOptions = [],
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    program: OwnProgram = None,
    use: Use = [],
    trust: Trust = False,
    json: Json = False,
) -> str:
    """Ask RUN for the latent, a label or a missing modality, given what each row has, and how sure it is.

    \b
    mmppl query runs/cmmd --given rotated --want label,noisy --rows 0:5
    mmppl query runs/cmmd --data mine.npz --out answer.npz
    mmppl query runs/fmwvae --given label --want image --set style=another
    mmppl query runs/mvae --given gene --want gene --set-condition batch=A
    mmppl query runs/mine --want prot --only-missing --out imputed.csv
    """
    choice("--method", method, METHODS)
    choice("--precision", precision, PRECISIONS)
    if split is not None:
        choice("--split", split, SPLITS)
    chosen, most, changes = rows(rows_), size("--memory", memory), pairs("--set", set_)
    if out is not None:
        check_file(out, "--out")
    import mmppl

    loaded = mmppl.Run.load(run, program=program, trust=trust, use=use).with_options(**changes)
    seen = names(",".join(given)) if given else None  # an option may be repeated, so the names are joined
    asked: dict[str, Any] = dict(
        given=seen,
        want=names(",".join(want)) if want else default_want(loaded, [] if only_missing else seen),
        draws=draws,
        method=method,
        seed=seed,
        memory=most,
        precision=precision,
        set_condition=pairs("--set-condition", set_condition),
        split=split,
        rows=chosen,
        root=root,
        only_missing=only_missing,
    )
    if out is not None and not json and out.suffix in IN_BLOCKS:  # block after block, however many they are
        answer = mmppl.write_blocks(out, loaded.query_blocks(data, **asked))
    else:
        answer = loaded.query(data, **asked)
        if out is not None:
            answer.save(out)
    for line in [*answer.warnings, *(answer.summary() if json or out is not None else [])]:  # a table has the summary
        say(line)
    if json:
        return as_json(answer.to_json())
    return printable(out) if out is not None else answer.table()


def example(run: "Run", program: str | None = None) -> str:
    """Return a query line that works for a run.

    It gives the conditions of the program, or else the first modality that it answers from, and asks for a label and
    another modality.

    Args:
        run: the run.
        program: the program's file, if it is not an installed one.

    Returns:
        A line for the shell.
    """
    labels, modalities = labels_and_modalities(run)
    seen = [n for n in run.program.encoded if n not in labels]
    alone = [n for n in seen if n in modalities and run.program.can_answer([n]) is None]
    given = list(run.program.conditions) or alone[:1] or seen[:1]
    want = labels[:1] + [name for name in modalities if name not in given][:1] or ["z"]
    line = ["mmppl", "query", str(run.folder), "--given", ",".join(given), "--want", ",".join(want), *_first_rows(run)]
    return shlex.join(line + (["--program", program] if program else []))


def _first_rows(run: "Run", most: int = 5) -> list[str]:
    """Return options that choose the first consecutive rows with everything that the program conditions on.

    They are test rows if any have it. Data that lie in files are not opened for that: then it is one row. If the data
    of the fit cannot be read without being named, the options are --data FILE.
    """
    if run.opens != "nothing":
        return ["--rows", "0"] if run.opens == "files" else ["--data", "FILE"]
    try:
        data = run.data()
    except MMPPLError:
        return ["--data", "FILE"]
    import torch

    for split in ("test", "all"):  # some rows have the conditions, since the fit learnt from them
        chosen = data.rows(split)
        whole = torch.ones(len(chosen), dtype=torch.bool)
        for name in run.program.conditions:
            whole &= data.observed[name][chosen]
        if whole.any():
            break
    first = int(whole.nonzero()[0])
    length = int(whole[first : first + most].int().cumprod(0).sum())
    return [*(["--split", "all"] if split == "all" else []), "--rows", f"{first}:{first + length}"]
