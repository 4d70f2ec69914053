"""How many of the processor's threads share the computations of a fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from ..core.program import Program
from ..errors import UsageError
from ..runs.record import RunRecord

MOST = 1024
# Multiplications of a step, counted once through every layer, below which a second thread does not pay. Measured on two
# idle cores, products of experts over three modalities, one thread's time over two's: 0.96 at 2.6e7, 1.03 at 5e7, 1.17
# at 8e7, 1.27 at 1.5e8, 1.35 at 2.8e8, 1.5 at 1e9. On busy cores it pays later.
SMALL = 1e8


def check_threads(threads: int | None) -> None:
    """Check a number of threads.

    Raises:
        UsageError: it is none that a processor has.
    """
    if threads is not None and not 1 <= threads <= MOST:
        raise UsageError(f"threads {threads} is not between 1 and {MOST}.")


def choose_threads(threads: int | None, program: Program, batch_size: int, rows: int) -> int:
    """The number of threads of a fit.

    Args:
        threads: that are asked for; None: one for a small network, else as many as PyTorch has.
        program: with its networks.
        batch_size: of a step.
        rows: of the data set.
    """
    if threads is not None:
        return threads
    return 1 if work_of_row(program) * min(batch_size, rows) < SMALL else torch.get_num_threads()


def work_of_row(program: Program) -> int:
    """Multiplications for one row, once through every layer.

    A convolution counts as if it had a position for each number of the largest modality.
    """
    positions = max(m.size for m in program.modalities)
    work = 0
    for module in program.modules():
        times = positions if isinstance(module, nn.modules.conv._ConvNd) else 1
        work += times * sum(p.numel() for p in module.parameters(recurse=False))
    return work


def on_threads(record: RunRecord, asked: int | None, log: Callable[[str], None]) -> RunRecord:
    """Take the threads that are asked for into a record, after a line where a fit that goes on began with others.

    Args:
        record: of the fit.
        asked: the number; None: that of the record.
        log: receives the line.

    Returns:
        The record.
    """
    if asked is None or asked == record.threads:
        return record
    log(f"It began with --threads {record.threads} and goes on with {asked}: its bits are those of neither number.")
    return dataclasses.replace(record, threads=asked)
