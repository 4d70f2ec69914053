"""A fitted model without a folder: a program with its weights, the schema of its data, and the questions it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch

from ..base.parsing import names as names_in
from ..base.parsing import row_numbers
from ..base.precision import matmul_precision, probe_matmul
from ..base.turns import own_settings, turn
from ..core.added_terms import own_state
from ..core.hyperparameters import check_query_options
from ..core.program import Program
from ..data.annotations import WORD
from ..data.dataset import Dataset
from ..data.examine.report import TOLD, UNSEEN
from ..data.read import read
from ..data.schema.grouping.column_names import ID
from ..data.splits import GROUP
from ..data.time_order import TIME
from ..errors import DataError, UsageError
from ..modalities.groups import members
from ..modalities.modality import Modality
from .answer import Answer
from .memory import MEMORY
from .query import ask, ask_in_blocks
from .warnings import unseen_classes


class FittedModel:
    """A program with fitted weights, and the schema of the data that it was fitted on.

    Args:
        program: the program with its weights; it answers in evaluation mode on the CPU.
        modalities: the schema, with the scaling of the training data; None takes that of the program.
        hyper: the hyper-parameters that the program was built with.
        name: the name of the model in answers, figures and messages.
        data: the data that it was fitted on, if they are at hand.
        ignored: the names of arrays that the fit left out; they are left out of other data too.
        annotations: the names of arrays that the fit took for annotations; so do its answers.
        group: the name of the array that the fit took for the group of its rows, if it is another name.
        ids: the name of the column that it took for the ids of its rows, if it was told.
        time: the name of the array by whose order the fit split its rows, if there is one.
        unseen: label → the classes that no training row had.
        history: one dict per epoch, as in metrics.jsonl.

    Attributes:
        options: the hyper-parameters that differ from those of the fit; see `with_options`.

    Example:
        >>> import mmppl
        >>> data = mmppl.read("digits-two-view")
        >>> program = mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8)
        >>> model = mmppl.FittedModel(program, data=data)
        >>> model.query(given="rotated", want="label", rows=slice(3), draws=4)["label"]["prob"].shape
        (3, 10)
    """

    def __init__(
        self,
        program: Program,
        modalities: Sequence[Modality] | None = None,
        *,
        hyper: Mapping[str, Any] = {},
        name: str = "model",
        data: Dataset | None = None,
        ignored: Sequence[str] = (),
        annotations: Sequence[str] = (),
        group: str | None = None,
        ids: str | None = None,
        time: str | None = None,
        unseen: Mapping[str, Sequence[str | int]] = {},
        history: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.program = program.eval()
        self.modalities = tuple(program.schema if modalities is None else modalities)
        self.hyper, self.name, self.options = dict(hyper), name, dict[str, Any]()
        self.fitted_on, self.unseen = data, dict(unseen)
        self.ignored, self.annotations = tuple(ignored), tuple(annotations)
        self.group, self.ids, self.time = group, ids, time
        self._history = list(history)

    @property
    def title(self) -> str:
        """The name of the model in figures, without folders."""
        return self.name

    @property
    def about(self) -> str:
        """The data that it was fitted on, for captions."""
        return "data unknown" if self.fitted_on is None else f"{self.fitted_on.name}, n = {len(self.fitted_on):,}"

    @property
    def metrics(self) -> list[Mapping[str, Any]]:
        """One dict per epoch: terms, weights, loss and validation metrics, as in metrics.jsonl."""
        return self._history

    def with_options(self, **options: Any) -> Self:
        """Return this model with other values of hyper-parameters that only its answers depend on
        (`Program.query_options`).

        Examples are `style="another"` of `fmwvae` and `answers="product"` of `mopoe`.

        Args:
            options: name → value, or the text of one.

        Returns:
            A new model with the same weights; this one is not changed.

        Raises:
            UsageError: the name is any other hyper-parameter, or the program refuses the value.
        """
        if not options:
            return self
        changed = self.options | check_query_options(type(self.program), options)
        again = self._copy(self._rebuilt(changed))
        again.options = changed
        return again

    def _rebuilt(self, changed: Mapping[str, Any]) -> Program:
        """Build the program with other hyper-parameters and the same weights."""
        with turn(), torch.random.fork_rng(devices=[]):  # building draws weights that are replaced below
            program = type(self.program)(self.modalities, **{**self.hyper, **changed})
        program.load_state_dict(own_state(self.program))
        return program

    def _copy(self, program: Program) -> Self:
        return type(self)(
            program, self.modalities, hyper=self.hyper, name=self.name, data=self.fitted_on, ignored=self.ignored,
            annotations=self.annotations, group=self.group, ids=self.ids, time=self.time, unseen=self.unseen,
            history=self._history,
        )  # fmt: skip

    def data(self, root: Any = None, *, hidden: bool = True) -> Dataset:
        """Return the data that it was fitted on.

        Args:
            root: the folder with the files of a recipe, in case they have to be read again.
            hidden: False returns the values that `fit(hide=…)` hid as well, if they can be had.

        Returns:
            The data set.

        Raises:
            UsageError: the data are not at hand.
        """
        if self.fitted_on is None:
            raise UsageError(f"{self.name}: its data are not at hand; name the data (--data FILE).")
        return self.fitted_on

    def dataset(self, data: Any = None, *, root: Any = None) -> Dataset:
        """Read data in the schema and scaling of this model.

        Args:
            data: anything that `mmppl.read` takes; None takes the data of the fit.
            root: the folder with the files that a recipe needs.

        Returns:
            The data set.

        Raises:
            DataError: the data differ from the schema.
        """
        if data is None:
            return self.data(root)
        if isinstance(data, Dataset) and data.modalities == self.modalities:
            return data
        as_: dict[str, str] = {}
        if not isinstance(data, Dataset):
            as_ = dict.fromkeys(self.ignored, "ignore") | dict.fromkeys(self.annotations, WORD)
            as_ |= {n: word for n, word in ((self.group, GROUP), (self.time, TIME), (self.ids, ID)) if n is not None}
        dataset = read(data, root=root, as_=as_, schema=self.modalities)
        if not dataset.has_split:
            dataset = self._with_split(dataset)
        ours = {m.name: m for m in self.modalities}
        for m in dataset.modalities:
            if m.name not in ours or m != ours[m.name]:
                raise DataError(
                    f"{dataset.name}: {m.name} differs from the schema of {self.name}; see `mmppl show {self.name}`."
                )
        return dataset

    def _with_split(self, dataset: Dataset) -> Dataset:
        """Give data without a split the split of the fit, if they are the data of the fit."""
        return dataset

    def is_fitted_on(self, dataset: Dataset) -> bool:
        """Say whether a data set is the one that the model was fitted on.

        Args:
            dataset: a data set in the schema of this model.

        Returns:
            True if it is.
        """
        own = self.fitted_on
        return own is not None and (own is dataset or own.fingerprint() == dataset.fingerprint())

    def warnings(
        self, dataset: Dataset, seen: Sequence[str] | None = None, asked: Sequence[str] | None = None
    ) -> list[str]:
        """Collect the warnings that accompany answers about a data set.

        Args:
            dataset: the data that are asked about.
            seen: the names that are given; a warning lists those that no row has. None takes all.
            asked: the names that are wanted; a warning lists classes that training never saw. None takes all.

        Returns:
            One line per warning.
        """
        shown = [m.name for m in self.modalities if seen is None or m.name in seen]
        absent = [n for n in shown if not dataset.observed[n].any()]
        return [
            *([f"{dataset.name}: no row has {', '.join(absent)}."] if absent else []),
            *(f.text for f in dataset.findings if f.kind in (TOLD, UNSEEN)),
            *unseen_classes({n: c for n, c in self.unseen.items() if asked is None or n in asked}),
        ]

    def query(
        self,
        data: Any = None,
        *,
        given: str | Sequence[str] | None = None,
        want: str | Sequence[str],
        draws: int = 64,
        method: str = "guide",
        seed: int = 0,
        split: str | None = None,
        rows: slice | int | Sequence[int] | Sequence[bool] | np.ndarray | None = None,
        root: Any = None,
        keep_draws: bool = False,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        memory: int | str = MEMORY,
        precision: str = "fp32",
        set_condition: Mapping[str, Any] = {},
        only_missing: bool = False,
    ) -> Answer:
        """Ask what follows from what is given; see `mmppl.inference.query.ask` for details.

        Args:
            data: anything that `mmppl.read` takes; None takes the data of the fit.
            given: the names to condition on; None takes what each row has, without labels and without what is wanted.
            want: latents ("z"), modalities, labels, or "evidence".
            draws: the number of latent draws per row.
            method: "guide" or "importance".
            seed: the seed of the draws.
            split: "train", "valid", "test" or "all"; None takes "test" if the data are split, else all rows.
            rows: which rows of that split, counted from 0: a slice, one number or several, or a mask.
            root: the folder with the files that a recipe needs.
            keep_draws: if True, the answer contains the draws as well.
            quantiles: the quantiles to report.
            memory: the memory that the work may take, in bytes or as a text such as "500MB".
            precision: "fp32" or "bf16".
            set_condition: condition → the value under which what is wanted is predicted, in all rows.
            only_missing: keep what rows have as it is, and predict what they lack from all that they have.

        Returns:
            The answer, with one entry per row.

        Raises:
            UsageError: a name is unknown, a row is out of range, or the program cannot answer the question.
        """
        given = None if given is None else members(self.program.modalities, names_in(given))
        want = members(self.program.modalities, names_in(want))
        dataset, chosen, left_out = self._asked(data, split, rows, root)
        with own_settings(), matmul_precision(probe_matmul()):
            answer = ask(
                self.program, dataset.take(chosen), given=given, want=want, draws=draws, method=method, seed=seed,
                keep_draws=keep_draws, quantiles=quantiles, memory=memory, precision=precision,
                set_condition=set_condition, only_missing=only_missing, run=self.name,
            )  # fmt: skip
        answer.warnings[:0] = self._warnings_of(dataset, given, want, left_out)
        return answer

    def query_blocks(
        self, data: Any = None, *, split: str | None = None, rows: Any = None, root: Any = None, **options: Any
    ) -> Iterator[Answer]:
        """Ask as `query` does, and hand out the answers of one block of rows after the other, so that they may be more
        than fit into memory.

        Args:
            data: as of `query`, as are all others.
            split: the part of the data.
            rows: which rows of it.
            root: the folder with the files that a recipe needs.
            options: `given`, `want`, `draws`, `method`, `seed`, `keep_draws`, `quantiles`, `memory`, `precision`,
                `set_condition` and `only_missing`.

        Yields:
            The answers of blocks of rows, in the order of the rows, the same to the bit as those of `query`. The last
            one has all warnings. `mmppl.write_blocks` writes them into a file.

        Raises:
            UsageError: as of `query`.

        Example:
            >>> import mmppl
            >>> data = mmppl.read("digits-two-view")
            >>> program = mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8)
            >>> model = mmppl.FittedModel(program, data=data)
            >>> sum(answer.n for answer in model.query_blocks(given="rotated", want="z", draws=2))
            359
        """
        dataset, chosen, left_out = self._asked(data, split, rows, root)
        asked, done = dataset.take(chosen), 0
        blocks = ask_in_blocks(self.program, asked, run=self.name, **options)
        while done < len(asked):
            with own_settings(), matmul_precision(probe_matmul()):  # not while the caller looks at a block
                answer = next(blocks)
            done += answer.n
            if done == len(asked):
                given, schema = options.get("given"), self.program.modalities
                shown = None if given is None else members(schema, names_in(given))
                want = members(schema, names_in(options["want"]))
                answer.warnings[:0] = self._warnings_of(dataset, shown, want, left_out)
            yield answer

    def _asked(self, data: Any, split: str | None, rows: Any, root: Any) -> tuple[Dataset, torch.Tensor, int]:
        """The data, the numbers of the rows asked about, and how many are left out because no part was named."""
        dataset = self.dataset(data, root=root)
        parted = split is None
        if split is None:
            split = "test" if dataset.has_split or self.is_fitted_on(dataset) else "all"
        chosen = dataset.rows(split)  # type: ignore[arg-type]
        if not len(chosen) and len(dataset):
            raise UsageError(f"query: {dataset.name} has no {split} rows; choose another part (--split all).")
        if rows is not None:
            place = f"{split} of {dataset.name} has {len(chosen)} rows"
            chosen = chosen[torch.from_numpy(row_numbers(rows, len(chosen), place))]
        left_out = len(dataset) - len(dataset.rows("test")) if parted and data is not None and split == "test" else 0
        return dataset, chosen, left_out

    def _warnings_of(
        self, dataset: Dataset, given: Sequence[str] | None, want: Sequence[str], left_out: int
    ) -> list[str]:
        """The warnings about the data of a query, before those about its answers."""
        shown = self.program.encoded if given is None else given
        seen = [n for n in shown if self.program.modality(n).role == "modality" and n not in want]
        return [
            *self.warnings(dataset, seen, want),
            *([f"{left_out} train and valid rows of {dataset.name} were not asked (--split all)."] * bool(left_out)),
        ]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.program).__name__}, {self.name!r})"
