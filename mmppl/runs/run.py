"""A run: a fitted model with the record of its fit, in a folder or not yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from ..base.files import pack, sha256, write
from ..core.hyperparameters import check_hyper
from ..core.loading import source_of, use_file
from ..core.program import Program
from ..data.annotations import WORD
from ..data.dataset import Dataset
from ..data.read import read
from ..data.readers.omics.mudata import with_options_of
from ..data.readers.tokens import UTTERANCE, utterance_split
from ..data.recipes.registry import needs
from ..data.schema.grouping.column_names import ID
from ..data.split_rules import SplitRules
from ..data.splits import GROUP
from ..data.time_order import TIME
from ..errors import DataError, UsageError
from ..inference.fitted import FittedModel
from .card import write_card
from .history import parse_history
from .own import is_own, remember
from .record import METRICS, PROGRAM, RunRecord, read_record, write_record
from .storage import as_it_stands, figures_folder, locked, make_folder, read_checked, sweep_run
from .trust import check_used, trusted_program
from .weights import with_weights


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
            annotations=[name for name, how in record.data.declared.items() if how == WORD],
            **{
                word: next((n for n, how in record.data.declared.items() if how == named), None)
                for word, named in (("group", GROUP), ("time", TIME), ("ids", ID))
            },
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
        sweep_run(folder)
        return as_it_stands(folder, record, lambda record: cls._opened(folder, record, program, trust))

    @classmethod
    def _opened(cls, folder: Path, record: RunRecord, program: Any, trust: bool) -> Run:
        check_used(folder, record)
        found = trusted_program(folder, record, program, trust)
        if record.weights is None:
            raise UsageError(f"{folder}: this fit has left no weights yet. Go on with --resume.")
        return cls(with_weights(found, folder, record, record.weights), record, folder=folder)

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
            weights = pack(dict(self.program.state_dict()))
            lines = "".join(json.dumps(line) + "\n" for line in self._history).encode()
            record = self.record.with_weights(weights).with_metrics(len(lines), sha256(lines))
            names = (PROGRAM, str(record.weights), METRICS)
            for name, content in zip(names, (source_of(type(self.program)), weights, lines)):
                write(folder / name, content)
            if record.result is not None:
                write_card(folder, record, record.result)
            write_record(folder, record)
        remember(record)
        self.folder, self.name, self.record = folder, str(folder), record
        return self

    @property
    def title(self) -> str:
        return self.name if self.folder is None else self.folder.name

    @property
    def metrics(self) -> list[Mapping[str, Any]]:
        if self._history or self.folder is None:
            return self._history
        folder, record = self.folder, self.record
        if record.status == "running":  # the fit may have gone on
            record = read_record(folder)
        data = as_it_stands(folder, record, lambda record: read_checked(folder, record, METRICS))
        return parse_history(data, folder / METRICS)

    def _copy(self, program: Program) -> Self:
        return type(self)(program, self.record, folder=self.folder, data=self.fitted_on, history=self._history)

    @property
    def opens(self) -> Literal["nothing", "files", "what is named"]:
        """What `data` opens: nothing but files of installed packages; other files as well; or only what is named in the
        call, since somebody else's run, or one whose data were in memory, says nothing that could be opened."""
        spec = self.record.data.spec
        if self.fitted_on is not None or (spec and needs(spec) == "nothing"):
            return "nothing"
        return "files" if spec and (needs(spec) == "root" or is_own(self.record)) else "what is named"

    def data(self, root: Any = None, *, hidden: bool = True) -> Dataset:
        """The data that the run was fitted on, read again where they are not in memory.

        Of a run that was fitted elsewhere only a built-in recipe is read, and its files only from a folder of the
        user's own: no file or folder is opened because the run names it.

        Args:
            root: folder of the files of a recipe.
            hidden: False: with what `fit(hide=…, hide_cells=…)` hid from it; as they are where that cannot be read
                again.

        Raises:
            DataError: the data have changed.
            UsageError: they were arrays in memory, or files that a run which was fitted elsewhere names.
        """
        stored, here = self.record.data, self.fitted_on
        if here is not None and (
            hidden or not (stored.hide or stored.hide_cells) or here.whole is not None or stored.spec is None
        ):
            return here if hidden else here.whole or here
        if stored.spec is None:
            raise UsageError(f"{self.name}: fitted on arrays in memory; name the data (--data FILE).")
        if self.opens == "what is named":
            raise UsageError(
                f"{self.name}: not fitted here by you, so the data that it names ({stored.spec}) are not opened; name "
                "them (--data FILE)."
            )
        if root is None and is_own(self.record):
            root = stored.root
        missing = {m.name: m.missing for m in self.modalities if m.missing is not None}
        how: dict[str, Any] = dict(as_=stored.declared, hide=stored.hide, hide_seed=self.record.seed)
        how |= dict(missing=missing, target=stored.target, hide_cells=stored.hide_cells)
        data = read(stored.spec, root=root, **how)
        if not hidden:
            data = data.whole or data
        if data.fingerprint() != (stored.fingerprint if hidden else stored.unhidden):
            raise DataError(
                f"{stored.spec}: not the data that {self.name} was fitted on (fingerprint differs); name them with "
                "--data."
            )
        if data.modalities != self.modalities:
            raise DataError(f"{self.name}: its schema is not that of its data, {stored.spec}; name others with --data.")
        return data

    def dataset(self, data: Any = None, *, root: Any = None) -> Dataset:
        return super().dataset(with_options_of(self.record.data.spec, data), root=root)

    def _with_split(self, dataset: Dataset) -> Dataset:
        """`dataset` with its seeded split if this run was fitted on it, so that training rows do not pass for test
        rows; else as it is."""
        splits = [SplitRules.of(dataset).split(seed=0)]
        if len(dataset) and UTTERANCE in dataset.annotations:  # the reader of tokens keeps utterances whole
            splits.append(utterance_split(dataset.annotations[UTTERANCE]))
        for split in splits:
            again = replace(dataset, split=split, has_split=True)
            if again.fingerprint() == self.record.data.unhidden:
                return again
        return dataset

    def is_fitted_on(self, dataset: Dataset) -> bool:
        return dataset is self.fitted_on or dataset.fingerprint() == self.record.data.fingerprint

    def warnings(self, dataset: Dataset, seen: Any = None, asked: Any = None) -> list[str]:
        return [*self.unfinished, *super().warnings(dataset, seen, asked)]

    @property
    def unfinished(self) -> list[str]:
        """The warning that the fit has not ended; empty where it has."""
        if self.record.status == "done":
            return []
        return [f"{self.name}: the fit is not finished; go on with `mmppl fit … --resume`."]

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
        for warning in self.unfinished if options.get("log") else ():
            options["log"](warning)
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
