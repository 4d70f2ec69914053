"""`mmppl plot`: the figures of a run."""

from .options import Json, OwnProgram, Root, RunFolder, Trust
from .output import as_json
from .progress import talk


def plot(
    run: RunFolder, root: Root = None, program: OwnProgram = None, trust: Trust = False, json: Json = False
) -> str:
    """Write the figures of RUN into RUN/figures: losses, generated against true, latents, reconstructions.

    Coherence too, once `mmppl evaluate RUN --metric coherence` has trained the judges of its data.

    \b
    mmppl plot runs/cmmd
    """
    import mmppl
    from mmppl.figures import plot as draw

    with talk() as say:
        files = draw(mmppl.Run.load(run, program=program, trust=trust), root=root, say=say)
    return as_json({"run": str(run), "figures": files}) if json else "\n".join(map(str, files))
