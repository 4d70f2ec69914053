"""The figure of generated modalities: what is given, the true values, and the predictive distribution of everything
else."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..evaluation.conditioning import default_conditioning_sets
from .drawing import caption, draw_image, draw_prediction, draw_value, example_rows, limits, quoted, true_values
from .registry import Subject, figure

SAMPLES = 8
DRAWS = 64
CHOICE = "a first row of each class, complete rows before others"


@figure(
    "generated",
    shows="what is given, the truth, and the predictive mean and spread of all else",
    absent="nothing is left to generate",
)
def generated(subject: Subject) -> Figure | None:
    """Draw one line per row: what is given, and for everything else the true value, the predictive mean, and its sd or
    90 % band.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if there is nothing else.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    program = model.program
    given = default_conditioning_sets(program)[0]
    test = example_rows(program, rows, given, SAMPLES)
    made = [m for m in program.modalities if m.name not in given and m.name in program.targets()]
    if not made:
        return None
    answer = model.query(test, given=given, want=[m.name for m in made], draws=DRAWS, split="all").want
    columns = [(program.modality(name), "given") for name in given]
    for m in made:
        columns += [(m, part) for part in (("true", "mean", "sd") if m.drawn == "image" else ("both",))]
    widths = [3.0 if m.drawn == "curve" else 1.0 for m, _ in columns]
    drawn = Figure(figsize=(1.05 * sum(widths) + 0.6, len(test) + 0.8), layout="constrained")
    axes = drawn.subplots(len(test), len(columns), squeeze=False, width_ratios=widths)
    for (m, part), column in zip(columns, axes.T):
        true, ends = true_values(test, m), limits(test, m)
        name = quoted(m.name)
        title = {"mean": f"generated\n{name} (mean)", "both": f"generated\n{name}"}.get(part, f"{part}\n{name}")
        if part == "sd":
            spread = answer[m.name]["std"]
            ends = float(spread.min()), float(spread.max())
            title = f"sd, {ends[0]:.2g} (blue)\nto {ends[1]:.2g} (yellow)"
        for i, ax in enumerate(column):
            if part in ("given", "true"):
                draw_value(ax, m, true[i], ends)
            elif part == "mean":
                draw_image(ax, answer[m.name]["mean"][i], ends)
            elif part == "sd":
                draw_image(ax, spread[i], ends, "cividis")
            else:
                draw_prediction(ax, m, true[i], {key: x[i] for key, x in answer[m.name].items() if key != "classes"})
            if m.drawn == "curve" and i < len(test) - 1:
                ax.tick_params(labelbottom=False)
        if m.drawn == "curve":
            column[-1].set_xlabel("feature")
            if part == "both":
                column[0].legend(fontsize=6, loc="upper right", ncols=3)
        column[0].set_title(title)
    caption(drawn, f"{about} · n = {len(test)} · {CHOICE} · {DRAWS} draws")
    return drawn
