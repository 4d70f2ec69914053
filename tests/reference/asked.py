"""A run of a program that was never fitted: it answers queries about one data set and has no folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmppl import Answer, Dataset, Program
from mmppl.inference.query import ask


class Asked:
    path = Path("asked")
    info = {"data": {"options": {"hide": None}, "spec": None}}
    set: Mapping[str, Any] = {}

    def __init__(self, program: Program, source: Dataset) -> None:
        self.program, self.source = program, source

    def data(self, root: Any = None) -> Dataset:
        return self.source

    def dataset(self, data: Any = None, *, root: Any = None) -> Dataset:
        return self.source if data is None else data

    def warnings(self, dataset: Dataset) -> list[str]:
        return []

    def query(self, data: Dataset, *, given: Sequence[str], want: Sequence[str], split: str, **words: Any) -> Answer:
        return ask(self.program, data, given=given, want=want, **words)
