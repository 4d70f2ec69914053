"""The figure of reconstructions: images beside their predictive means from each conditioning set."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..evaluation.conditioning import default_conditioning_sets, set_name
from .drawing import caption, draw_image, draw_value, example_rows, limits, quoted, row_name, true_values
from .generated import CHOICE, DRAWS, SAMPLES
from .registry import Subject, figure


@figure(
    "reconstructions",
    shows="images beside their predictive means by what is given",
    absent="the program generates no images",
)
def reconstructions(subject: Subject) -> Figure | None:
    """Draw, for each image modality, the true values and the predictive mean from each conditioning set.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if the program generates no images.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    program = model.program
    images = [m for m in program.modalities if m.drawn == "image" and m.name in program.targets()]
    if not images:
        return None
    sets = default_conditioning_sets(program)
    if program.conditions:
        sets.append(tuple(n for n in program.encoded if program.modality(n).role == "modality"))
    test = example_rows(program, rows, sets[-1], SAMPLES)
    height = (0.8 * (len(sets) + 1) + 0.3) * len(images) + 0.4
    drawn = Figure(figsize=(0.8 * len(test) + 1.4, height), layout="constrained")
    blocks = drawn.subfigures(len(images), 1, squeeze=False).ravel()
    for block, m in zip(blocks, images):
        axes = block.subplots(len(sets) + 1, len(test), squeeze=False)
        true, ends = true_values(test, m), limits(test, m)
        block.suptitle(f"{quoted(m.name)}: the truth, and the predictive mean by what is given", fontsize=9)
        for ax, value in zip(axes[0], true):
            draw_value(ax, m, value, ends)
        row_name(axes[0][0], "truth")
        for given, line in zip(sets, axes[1:]):
            mean = model.query(test, given=given, want=[m.name], draws=DRAWS, split="all").want[m.name]["mean"]
            for ax, value in zip(line, mean):
                draw_image(ax, value, ends)
            row_name(line[0], quoted(set_name(given)).replace("+", "\n+ "))
    caption(drawn, f"{about} · n = {len(test)} · {CHOICE} · {DRAWS} draws")
    return drawn
