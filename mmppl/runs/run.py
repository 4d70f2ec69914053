"""A run: a fitted model with the record of its fit, in a folder or not yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ..base.files import pack, unpack, write
from ..base.turns import turn
from ..core.hyperparameters import check_hyper
from ..core.loading import source_of, use_file
from ..core.program import Program
from ..data.dataset import Dataset
from ..data.read import read
from ..data.splits import stratified_split, stratifying
from ..errors import DataError, UsageError
from ..inference.fitted import FittedModel
from .card import write_card
from .record import METRICS, PROGRAM, WEIGHTS, RunRecord, read_record, write_record
from .storage import figures_folder, locked, make_folder, read_checked
from .trust import check_used, trusted_program


class Run(FittedModel):
    """A fitted model: ask it (`query`), judge it (`evaluate`), look at it (`plot`), keep it (`save`).

    Attributes:
        folder: the run folder; None for a fit in memory, until `save`.
        record: what run.json holds, or will hold.

    Example:
        >>> import tempfile, mmppl
        >>> run = mmppl.fit("mvae", hyper={"hidden": 8, "layers": 1}, epochs=1)
        >>> folder = run.save(tempfile.mkdtemp()).folder
        >>> answer = mmppl.Run.load(folder).query(given="image", want="label", rows=slice(0, 2))
        >>> answer["label"]["prob"].shape
        (2, 10)
    """

    def __init__(
        self,
        program: Program,
        record: RunRecord,
        *,
        folder: Path | None = None,
        data: Dataset | None = None,
        history: list[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            program,
            record.modalities,
            hyper=check_hyper(type(program), record.hyper),  # JSON knows no tuples
            name=record.program.name if folder is None else str(folder),
            data=data,
            ignored=[name for name, how in record.data.declared.items() if how == "ignore"],
            unseen=record.data.unseen,
            history=history or (),
        )
        self.folder, self.record = folder, record

    @classmethod
    def load(
        cls, folder: str | Path, *, program: Any = None, trust: bool = False, use: Sequence[str | Path] = ()
    ) -> Run:
        """Open a run folder.

        Args:
            folder: what a fit has left.
            program: the user's own program, a class or a file, of the hash that the run was fitted with.
            trust: execute RUN/program.py.
            use: the user's own files that the fit used, of the same hashes, to be executed.

        Raises:
            UsageError: no such run, or one without weights yet.
            DataError: a damaged file.
            UntrustedError: its program would have to be executed, and is not known to be the user's own.
        """
        folder = Path(folder)
        record = read_record(folder)
        for file in use:
            use_file(file)
        check_used(folder, record)
        found = trusted_program(folder, record, program, trust)
        if WEIGHTS not in record.sha256:
            raise UsageError(f"{folder}: this fit has left no weights yet. Finish it with --resume.")
        with turn(), torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and thrown away
            built = found(record.modalities, **check_hyper(found, record.hyper))
        weights = unpack(read_checked(folder, record, WEIGHTS), folder / WEIGHTS)
        try:
            built.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise DataError(f"{folder}: weights and program do not fit ({reason}).") from None
        return cls(built, record, folder=folder)

    def save(self, folder: str | Path) -> Run:
        """Write this run, which was fitted in memory, into a folder, and go on as the run of that folder.

        Args:
            folder: one that does not exist yet, or is empty.

        Raises:
            UsageError: the run has a folder already, or the folder is taken.
        """
        if self.folder is not None:
            raise UsageError(f"{self.folder}: this run has a folder already; copy it.")
        folder = Path(folder)
        make_folder(folder, resume=False)
        with locked(folder):
            files = {
                PROGRAM: source_of(type(self.program)),
                WEIGHTS: pack(dict(self.program.state_dict())),
                METRICS: "".join(json.dumps(line) + "\n" for line in self._history).encode(),
            }
            for name, content in files.items():
                write(folder / name, content)
                self.record = self.record.with_file(name, content)
            if self.record.result is not None:
                write_card(folder, self.record, self.record.result)
            write_record(folder, self.record)
        self.folder, self.name = folder, str(folder)
        return self

    @property
    def title(self) -> str:
        return self.name if self.folder is None else self.folder.name

    @property
    def metrics(self) -> list[Mapping[str, Any]]:
        if self._history or self.folder is None:
            return self._history
        if self.record.status == "done":
            text = read_checked(self.folder, self.record, METRICS).decode()
        else:
            text, _, _ = (self.folder / METRICS).read_text().rpartition("\n")  # the last may be half written
        try:
            return [json.loads(line) for line in text.splitlines()]
        except ValueError:
            raise DataError(f"{self.folder / METRICS}: damaged. Restore it or fit again.") from None

    def _copy(self, program: Program) -> Self:
        return type(self)(program, self.record, folder=self.folder, data=self.fitted_on, history=self._history)

    def data(self, root: Any = None, *, hidden: bool = True) -> Dataset:
        """The data that the run was fitted on, read again where they are not in memory.

        Args:
            root: folder of the files of a recipe.
            hidden: False: with what `fit(hide=…)` hid from it; as they are where that cannot be read again.

        Raises:
            DataError: the data have changed.
            UsageError: they were arrays in memory.
        """
        stored, own = self.record.data, self.fitted_on
        if own is not None and (hidden or not stored.hide or own.whole is not None or stored.spec is None):
            return own if hidden else own.whole or own
        if stored.spec is None:
            raise UsageError(f"{self.name}: fitted on arrays in memory; name the data (--data FILE).")
        how: dict[str, Any] = dict(as_=stored.declared, hide=stored.hide, hide_seed=self.record.seed)
        data = read(stored.spec, root=root or stored.root, **how)
        if not hidden:
            data = data.whole or data
        if data.fingerprint() != (stored.fingerprint if hidden else stored.unhidden):
            raise DataError(
                f"{stored.spec}: not the data that {self.name} was fitted on (fingerprint differs); name them with "
                "--data."
            )
        return data

    def _with_split(self, dataset: Dataset) -> Dataset:
        """`dataset` with its seeded split if this run was fitted on it, so that training rows do not pass for test
        rows; else as it is."""
        label, groups = stratifying(dataset.modalities), np.zeros(len(dataset), np.int64)
        if label is not None:
            codes = dataset.values[label.name].reshape(-1).numpy()
            groups = np.where(dataset.observed[label.name].numpy(), codes, -1)
        again = replace(dataset, split=stratified_split(groups, seed=0), has_split=True)
        return again if again.fingerprint() == self.record.data.unhidden else dataset

    def is_fitted_on(self, dataset: Dataset) -> bool:
        return dataset is self.fitted_on or dataset.fingerprint() == self.record.data.fingerprint

    def warnings(self, dataset: Dataset, seen: Any = None, asked: Any = None) -> list[str]:
        unfinished = f"{self.name}: the fit is not finished; go on with `mmppl fit … --resume`."
        return [*([unfinished] if self.record.status != "done" else []), *super().warnings(dataset, seen, asked)]

    def evaluate(self, data: Any = None, **options: Any) -> dict[str, Any]:
        """Metrics on a split; see `mmppl.evaluate`."""
        from ..evaluation.evaluate import evaluate  # scikit-learn loads there

        return evaluate(self, data, **options)

    def plot(self, data: Any = None, **options: Any) -> list[Path]:
        """Write RUN/figures/*.png; see `mmppl.figures.plot.plot`.

        Returns:
            The paths of what was written.

        Raises:
            UsageError: the run has no folder; `save` it first.
        """
        from ..figures.plot import plot  # Matplotlib loads there

        if self.folder is None:
            raise UsageError(f"{self.name}: this run has no folder for its figures; save it first (run.save(FOLDER)).")
        return plot(self, figures_folder(self.folder), data, **options)

    def summary(self) -> dict[str, Any]:
        """How the fit ended: run, epochs, seconds, loss, terms and weights, and metrics on the validation rows (in
        their place `mmppl fit --json` prints those on the test rows).

        Raises:
            UsageError: it has not ended.
        """
        if self.record.result is None:
            raise UsageError(f"{self.name}: this fit has not ended. Go on with --resume.")
        return {"run": self.name, **self.record.result.to_json()}

    @property
    def about(self) -> str:
        """What it was fitted on, for captions: the data, and how many rows."""
        return f"{self.record.data.told}, n = {self.record.data.n:,}"

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.record.program.name}, {self.record.data.told})"
