"""The model card of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.files import write
from ..modalities.modality import Modality
from .record import data_told


def write_card(path: Path, info: Mapping[str, Any]) -> None:
    """README.md of the run: what it is, on what, with what result, how to ask it."""
    result, training = info["result"], info["training"]
    schema = [Modality.from_json(m) for m in info["modalities"]]
    lines = [
        f"# {info['program']['name']} on {data_told(info)}",
        "",
        f"Fitted with mmppl {info['mmppl']}: {result['epochs']} epochs, batches of {training['batch_size']}, "
        f"seed {info['seed']}, {result['seconds']:.0f} s on {info['device']}.",
        "",
        "| modality | shape | likelihood | role |",
        "|---|---|---|---|",
        *(f"| {m.name} | {m.shape} | {m.likelihood} | {m.role} |" for m in schema),
        "",
        "| term (validation, nats per row) | value | weight |",
        "|---|---|---|",
        *(f"| {n} | {v:.4g} | {result['weights'][n]:.4g} |" for n, v in result["terms"].items()),
        "",
        "Hyper-parameters: " + (", ".join(f"{k}={v}" for k, v in info["hyper"].items()) or "defaults") + ".",
        "",
        f"Ask it: `mmppl query {path}`; judge it: `mmppl evaluate {path}`.",
        "",
    ]
    write(path / "README.md", "\n".join(lines).encode())
