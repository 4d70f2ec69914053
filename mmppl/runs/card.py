"""The model card of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..base.files import write
from ..base.text import code
from .record import ResultRecord, RunRecord


def write_card(path: Path, record: RunRecord, result: ResultRecord) -> None:
    """README.md of the run: what it is, on what, with what result, how to ask it.

    Names come from data and programs, perhaps of other people, and are quoted: none is Markdown or HTML.
    """
    place = shlex.quote(str(path))
    lines = [
        f"# {code(record.program.name)} on {code(record.data.told)}",
        "",
        f"Fitted with mmppl {record.mmppl}: {result.steps:,} steps, batches of {record.training['batch_size']}, "
        f"seed {record.seed}, {result.seconds:.0f} s on {record.device}.",
        "",
        "| modality | shape | likelihood | role |",
        "|---|---|---|---|",
        *(f"| {code(m.name)} | {m.shape} | {code(m.likelihood)} | {m.role} |" for m in record.modalities),
        "",
        "| term (validation, nats per row) | value | weight |",
        "|---|---|---|",
        *(f"| {code(n)} | {v:.4g} | {result.weights[n]:.4g} |" for n, v in result.terms.items()),
        "",
        "Hyper-parameters: " + (", ".join(code(f"{k}={v}") for k, v in record.hyper.items()) or "defaults") + ".",
        "",
        f"Ask it: {code(f'mmppl query {place}')}; judge it: {code(f'mmppl evaluate {place}')}.",
        "",
    ]
    write(path / "README.md", "\n".join(lines).encode())
