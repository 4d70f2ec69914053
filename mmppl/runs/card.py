"""The model card of a run."""

from __future__ import annotations

from pathlib import Path

from ..base.files import write
from .record import ResultRecord, RunRecord


def write_card(path: Path, record: RunRecord, result: ResultRecord) -> None:
    """README.md of the run: what it is, on what, with what result, how to ask it."""
    lines = [
        f"# {record.program.name} on {record.data.told}",
        "",
        f"Fitted with mmppl {record.mmppl}: {result.epochs} epochs, batches of {record.training['batch_size']}, "
        f"seed {record.seed}, {result.seconds:.0f} s on {record.device}.",
        "",
        "| modality | shape | likelihood | role |",
        "|---|---|---|---|",
        *(f"| {m.name} | {m.shape} | {m.likelihood} | {m.role} |" for m in record.modalities),
        "",
        "| term (validation, nats per row) | value | weight |",
        "|---|---|---|",
        *(f"| {n} | {v:.4g} | {result.weights[n]:.4g} |" for n, v in result.terms.items()),
        "",
        "Hyper-parameters: " + (", ".join(f"{k}={v}" for k, v in record.hyper.items()) or "defaults") + ".",
        "",
        f"Ask it: `mmppl query {path}`; judge it: `mmppl evaluate {path}`.",
        "",
    ]
    write(path / "README.md", "\n".join(lines).encode())
