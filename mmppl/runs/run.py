"""A fitted model that answers from its run folder. Nothing in a run folder is executed unless trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..base.files import unpack
from ..base.parsing import names as names_in
from ..base.parsing import row_numbers
from ..base.precision import matmul_precision, probe_matmul
from ..core.hyperparameters import check_hyper, check_query_options
from ..core.program import Program
from ..data.dataset import Dataset
from ..data.read import read
from ..data.splits import stratified_split, stratifying
from ..errors import DataError, UsageError
from ..inference.memory import MEMORY
from ..inference.warnings import unseen_classes
from ..modalities.modality import Modality
from .record import data_told, read_info
from .storage import read_checked
from .trust import trusted_program

if TYPE_CHECKING:
    from ..inference.query import Answer


class Run:
    """A fitted model: ask it (`query`), judge it (`evaluate`), look at it (`plot`).

    Attributes:
        path: the run folder.
        info: run.json.
        modalities: the schema, with the scaling of the training data.
        set: hyper-parameters that are others than those of the fit; see `with_options`.
    """

    def __init__(
        self, path: Path, info: dict[str, Any], cls: type[Program], set_: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.info, self._cls, self.set = path, info, cls, dict(set_ or {})
        self.fitted_on: Dataset | None = None  # kept by `fit`, so that nothing is read twice
        self.modalities = tuple(Modality.from_json(m) for m in info["modalities"])

    @classmethod
    def load(cls, path: str | Path, *, program: Any = None, trust: bool = False) -> Run:
        """Open a run folder.

        Args:
            program: the user's own program, a class or a file, of the hash that the run was fitted with.
            trust: execute RUN/program.py.
        Raises:
            UsageError: no such run, or one without weights yet; DataError: a damaged file; UntrustedError: see above.
        """
        path = Path(path)
        info = read_info(path)
        found = trusted_program(path, info, program, trust)
        if "weights.safetensors" not in info["sha256"]:
            raise UsageError(f"{path}: this fit has left no weights yet. Finish it with --resume.")
        return cls(path, info, found)

    def with_options(self, **hyper: Any) -> Run:
        """This run with other values of hyper-parameters that its program lets answers alone depend on
        (`query_options`), such as `style="another"` of `fmwvae` or `answers="product"` of `mopoe`; the run folder
        stays as it is.

        Raises: UsageError for any other name, or a value that the program refuses.
        """
        if not hyper:
            return self
        again = Run(self.path, self.info, self._cls, self.set | check_query_options(self._cls, hyper))
        again.fitted_on = self.fitted_on
        again.program  # noqa: B018  # built here, so that what it refuses is refused here
        return again

    @cached_property
    def program(self) -> Program:
        """The program with the fitted weights, in evaluation mode, on the CPU."""
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and thrown away
            hyper = check_hyper(self._cls, self.info["hyper"] | self.set)  # JSON knows no tuples
            program = self._cls(self.modalities, **hyper)
        weights = unpack(read_checked(self.path, self.info, "weights.safetensors"), self.path / "weights.safetensors")
        try:
            program.load_state_dict(weights)
        except RuntimeError as error:
            raise DataError(
                f"{self.path}: weights and program do not fit ({str(error).splitlines()[-1].strip()})."
            ) from None
        return program.eval()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One dict per epoch, as in metrics.jsonl."""
        if self.info["status"] == "done":
            text = read_checked(self.path, self.info, "metrics.jsonl").decode()
        else:
            text, _, _ = (self.path / "metrics.jsonl").read_text().rpartition("\n")  # the last line may be half written
        try:
            return [json.loads(line) for line in text.splitlines()]
        except ValueError:
            raise DataError(f"{self.path / 'metrics.jsonl'}: damaged. Restore it or fit again.") from None

    def data(self, root: str | Path | None = None, *, hidden: bool = True) -> Dataset:
        """The data that the run was fitted on, read again; DataError when they have changed.

        Args:
            hidden: False: with what `fit(hide=…)` hid from it.
        """
        stored = self.info["data"]
        hides = stored["options"]["hide"] and hidden
        if self.fitted_on is not None and (hides or not stored["options"]["hide"]):
            return self.fitted_on
        if stored["spec"] is None:
            raise UsageError(f"{self.path}: fitted on arrays in memory; name the data (--data FILE).")
        options = stored["options"]
        masked = dict(hide=options["hide"], hide_seed=self.info["seed"])
        data = read(stored["spec"], root=root or options["root"], as_=options["as"], **masked)
        if not hidden:
            data = data.whole or data
        if data.fingerprint() != stored["fingerprint" if hidden else "unhidden"]:
            raise DataError(
                f"{stored['spec']}: not the data that {self.path} was fitted on (fingerprint differs); name them with "
                "--data."
            )
        return data

    def dataset(self, data: Any = None, *, root: str | Path | None = None) -> Dataset:
        """`data` in this run's schema and scaling; None: the data of the fit."""
        if data is None:
            return self.data(root)
        if isinstance(data, Dataset) and data.modalities == self.modalities:
            return data
        ignored = {n: how for n, how in self.info["data"]["options"]["as"].items() if how == "ignore"}
        given = {} if isinstance(data, Dataset) else ignored
        dataset = read(data, root=root, as_=given, schema=self.modalities)
        if not dataset.has_split:
            dataset = self._with_split_of_fit(dataset)
        ours = {m.name: m for m in self.modalities}
        for m in dataset.modalities:
            if m.name not in ours or m != ours[m.name]:
                raise DataError(
                    f"{dataset.name}: {m.name} differs from the schema of {self.path}; see `mmppl show {self.path}`."
                )
        return dataset

    def _with_split_of_fit(self, dataset: Dataset) -> Dataset:
        """`dataset` with its seeded split if this run was fitted on it, so that training rows do not pass for test
        rows; else as it is."""
        label, groups = stratifying(dataset.modalities), np.zeros(len(dataset), np.int64)
        if label is not None:
            codes = dataset.values[label.name].reshape(-1).numpy()
            groups = np.where(dataset.observed[label.name].numpy(), codes, -1)
        again = replace(dataset, split=stratified_split(groups, seed=0), has_split=True)
        return again if again.fingerprint() == self.info["data"]["unhidden"] else dataset

    def warnings(
        self, dataset: Dataset, seen: Sequence[str] | None = None, told: Sequence[str] | None = None
    ) -> list[str]:
        """What to know of the answers, a line each: that the fit is unfinished, names of `seen` that no row has, and
        classes of `told` that training never saw (None: of all)."""
        names = [m.name for m in self.modalities]
        absent = [n for n in names if (seen is None or n in seen) and not dataset.observed[n].any()]
        unseen = self.info["data"].get("unseen", {})
        unfinished = f"{self.path}: the fit is not finished; go on with `mmppl fit … --resume`."
        return [
            *([unfinished] if self.info["status"] != "done" else []),
            *([f"{dataset.name}: no row has {', '.join(absent)}."] if absent else []),
            *unseen_classes({n: c for n, c in unseen.items() if told is None or n in told}),
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
        root: str | Path | None = None,
        keep_draws: bool = False,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        memory: int | str = MEMORY,
        precision: str = "fp32",
    ) -> Answer:
        """Ask what follows from what is given; see `mmppl.query.ask` for the arguments.

        Args:
            data: what `mmppl.read` takes; None: the data of the fit.
            split: "train", "valid", "test" or "all"; default: "test" where the data are split, else all.
            rows: which rows of that split, counted from 0: a slice, a number or several, or a mask.
        """
        from ..inference.query import ask

        given, want = None if given is None else names_in(given), names_in(want)
        dataset = self.dataset(data, root=root)
        parted = split is None
        if split is None:
            split = "test" if dataset.has_split or dataset.fingerprint() == self.info["data"]["fingerprint"] else "all"
        chosen = dataset.rows(split)  # type: ignore[arg-type]
        if not len(chosen) and len(dataset):
            raise UsageError(f"query: {dataset.name} has no {split} rows; choose another part (--split all).")
        if rows is not None:
            place = f"{split} of {dataset.name} has {len(chosen)} rows"
            chosen = chosen[torch.from_numpy(row_numbers(rows, len(chosen), place))]
        with matmul_precision(probe_matmul()):
            answer = ask(
                self.program, dataset.take(chosen), given=given, want=want, draws=draws, method=method, seed=seed,
                keep_draws=keep_draws, quantiles=quantiles, memory=memory, precision=precision, run=str(self.path),
            )  # fmt: skip
        asked = self.program.encoded if given is None else given
        seen = [n for n in asked if self.program.modality(n).role == "modality" and n not in want]
        left_out = len(dataset) - len(dataset.rows("test")) if parted and data is not None and split == "test" else 0
        answer.warnings[:0] = [
            *self.warnings(dataset, seen, want),
            *([f"{left_out} train and valid rows of {dataset.name} were not asked (--split all)."] * bool(left_out)),
        ]
        return answer

    def evaluate(self, data: Any = None, **options: Any) -> dict[str, Any]:
        """Metrics on a split; see `mmppl.evaluate`."""
        from ..evaluation.evaluate import evaluate

        return evaluate(self, data, **options)

    def plot(self, data: Any = None, **options: Any) -> list[Path]:
        """Write RUN/figures/*.png; their paths."""
        from ..figures.plot import plot

        return plot(self, data, **options)

    def summary(self) -> dict[str, Any]:
        """How the fit ended: run, epochs, seconds, loss, terms and weights, and metrics on the validation rows (in
        their place `mmppl fit --json` prints those on the test rows).

        Raises: UsageError where it has not ended.
        """
        if "result" not in self.info:
            raise UsageError(f"{self.path}: this fit has not ended. Go on with --resume.")
        return {"run": str(self.path), **self.info["result"]}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.info['program']['name']}, {data_told(self.info)})"
