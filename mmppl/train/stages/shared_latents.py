"""Whether a program has decoders that share a latent, where their gradients are to be combined."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...core.batch import Batch
from ...core.program import Program
from ...core.terms import terms_of
from ...distributions.fan_out import combining
from ...errors import UsageError
from ...objectives.impartial.rules import combiner
from ..settings import FitSettings
from ..step import batch_from, tensors_of


def check_shared_latents(
    program: Program, rows: Batch, settings: FitSettings, log: Callable[[str], None] = lambda line: None
) -> None:
    """Evaluate the objective and its gradient once under the rule of the settings, which must find something to do.

    Args:
        program: on its device; keeps its state, as the random stream does.
        rows: a few rows of the data.
        settings: of the fit; without `gradients` nothing is checked.
        log: receives a line about decoders that share no latent while others do.

    Raises:
        UsageError: no two decoders share a latent, something else combines gradients, or steps are not by gradient.
    """
    if settings.gradients is None:
        return
    who = type(program).__name__
    stages = [stage for stage in program.stages() if stage.update == "gradient"]
    if not stages or any(stage.update == "lbfgs" for stage in program.stages()):
        raise UsageError(f"{who} is not fitted by gradient steps alone, which --gradients needs.")
    if settings.gradient_rule is not None or any(group.rule for group in program.parameter_groups()):
        raise UsageError(f"{who}: a rule over the gradients of terms leaves --gradients nothing to combine; drop one.")
    readers: list[list[str]] = []
    for stage in stages:
        readers += _readers(program, rows, stage.name, settings)
    names = list(dict.fromkeys(name for of_latent in readers for name in of_latent))
    together = {name for of_latent in readers if len(of_latent) > 1 for name in of_latent}
    if not together:
        has = f"has one decoder ({names[0]})" if len(names) == 1 else "has no two decoders that read the same latent"
        raise UsageError(f"{who} {has}; --gradients needs two that share a latent.")
    if alone := [name for name in names if name not in together]:
        log(f"{who}: {', '.join(alone)} shares no latent with another; --gradients leaves its gradient as it is.")


def _readers(program: Program, rows: Batch, stage: str, settings: FitSettings) -> list[list[str]]:
    """The readers of each latent in an evaluation of the objective as in a stage."""
    device = program.progress.device
    rows = batch_from([tensor.to(device) for tensor in tensors_of(rows)], rows)
    before, training = [buffer.clone() for buffer in program.buffers()], program.training
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        program.eval()  # so that no running state moves
        program.stage = stage
        with combining(combiner(settings.gradients)) as found:
            loss = terms_of(program, rows).loss
        if loss.requires_grad:
            moving = [parameter for parameter in program.parameters() if parameter.requires_grad]
            torch.autograd.grad(loss, moving, allow_unused=True)
    program.stage = ""
    program.train(training)
    with torch.no_grad():
        for buffer, value in zip(program.buffers(), before):
            buffer.copy_(value)
    return [] if found is None else found.readers
