"""Queries: what a program with fitted weights predicts for each row, given some names and asked for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.parsing import names as names_in
from ..base.parsing import size as size_in
from ..base.turns import taking_turns, turn
from ..core.elements import check_cells
from ..core.program import Program
from ..data.dataset import Dataset
from ..data.examine.report import refuse_unseen
from ..errors import UsageError
from ..modalities.groups import members
from ..modalities.kinds import kind
from .answer import Answer
from .memory import MEMORY, chunk, estimate
from .questions.imputation import WHOLE, given_with_own, keep_observed
from .questions.question import Question
from .questions.set_conditions import about_conditions
from .rows import answer_rows
from .warnings import infinite_rows, not_finite, nothing_given, nothing_scored, nothing_told, untrusted_weights

BLOCK = 2**25  # bytes of the answers of a block, about


def ask(
    program: Program,
    dataset: Dataset,
    *,
    given: str | Sequence[str] | None = None,
    want: str | Sequence[str],
    draws: int = 64,
    method: Literal["guide", "importance"] | str = "guide",
    seed: int = 0,
    keep_draws: bool = False,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    memory: int | str = MEMORY,
    precision: Literal["fp32", "bf16"] | str = "fp32",
    set_condition: Mapping[str, Any] = {},
    only_missing: bool = False,
    run: str = "",
) -> Answer:
    """Ask a program about every row of a data set.

    Args:
        program: a program with fitted weights.
        dataset: the rows, in the schema of the program.
        given: the names to condition on ("image,word" or a sequence), each in the rows that have it; [] asks the prior;
            None takes all that a row has, without labels and without what is wanted.
        want: latents ("z"), modalities, labels, what else the program has (`Program.quantities`, such as "importance":
            how far it trusts each modality of a row), or "evidence": ln p(the other wanted names | given), each where
            it is observed, or ln p(given) if no other name is wanted. The latter is a lower bound on average, the
            former a difference of two of those and no bound.
        draws: the number of latent draws per row.
        method: "guide" answers as the program does; "importance" corrects the answer by the model, with Pareto-smoothed
            weights, and adds "ess" and "khat" to everything that is wanted.
        seed: the key of the noise, together with the id of a row. Slicing or reordering rows changes answers by
            rounding only.
        keep_draws: if True, everything that is wanted except the evidence gets "draws", (n, draws, *shape).
        quantiles: the quantiles to report, as q05 for 0.05, q97.5 for 0.975 (not for classes).
        memory: what the work may take beside the answer itself, in bytes or as a text such as "500MB". Rows and draws
            are asked in chunks that keep to it; other chunks change answers by rounding only. All draws of a row share
            the memory for their weights and, with quantiles or `keep_draws`, for what is wanted.
        precision: "bf16" computes the matrix products of the networks in bfloat16, and sums and densities still in
            float32.
        set_condition: condition → the class or number under which what is wanted is predicted in all rows, "as if
            measured there" ({"batch": "A"}). Latents are read under each row's own conditions.
        only_missing: if True, cells that a row has stay as they are (mean, quantiles and draws are the value, std is
            0), what a row has of a wanted modality is given too, and "imputed" says which cells are predicted. Censored
            survival times are predicted like missing ones, not given that they are longer. Not with `set_condition`.
        run: the name of the model, for the answer.

    Returns:
        The answer, with one entry per row. Of a sequence it has all T steps where a row lacks it, whose length is then
        unknown, and NaN (of classes "" or -1) beyond a known length.

    Raises:
        UsageError: a name is unknown, the program cannot answer the question (the message gives the reason), or a
            single row does not fit into the memory.
        DataError: what is given has a class that the program does not know.
    """
    blocks = Blocks(
        program, dataset, given=given, want=want, draws=draws, method=method, seed=seed, keep_draws=keep_draws,
        quantiles=quantiles, memory=memory, precision=precision, set_condition=set_condition,
        only_missing=only_missing,
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {name: {} for name in blocks.question.want}
    with turn():
        for rows in taking_turns(blocks.chunks):
            _fill(found, blocks.answered(rows), rows, len(dataset))
    return blocks.answer(dataset.ids, found, run, blocks.warnings())


def ask_in_blocks(program: Program, dataset: Dataset, *, run: str = "", **options: Any) -> Iterator[Answer]:
    """Ask a program about every row of a data set, of which no more answers are in memory than those of a block.

    Args:
        program: a program with fitted weights.
        dataset: the rows, in the schema of the program.
        run: the name of the model, for the answers.
        options: as of `ask`.

    Yields:
        The answers of blocks of rows, in the order of the rows, the same to the bit as those of `ask`. The last one has
        the warnings about all rows.

    Raises:
        UsageError: as of `ask`.
        DataError: as of `ask`.
    """
    blocks = Blocks(program, dataset, **options)
    waiting = list(blocks.chunks)
    many = 1  # chunks in a block
    while waiting:
        chunks, waiting = waiting[:many], waiting[many:]
        first, found = int(chunks[0][0]), {name: dict[str, Any]() for name in blocks.question.want}
        number = sum(map(len, chunks))
        with turn():
            for rows in taking_turns(chunks):
                _fill(found, blocks.answered(rows), rows - first, number)
        sizes = (v.nbytes for parts in found.values() for v in parts.values() if isinstance(v, np.ndarray))
        many = max(1, len(chunks) * BLOCK // max(1, sum(sizes)))
        ids = dataset.ids[first : first + number]
        yield blocks.answer(ids, found, run, [] if waiting else blocks.warnings())


class Blocks:
    """A checked question, which is answered for one chunk of rows after the other.

    Args:
        program: a program with fitted weights.
        dataset: the rows.
        given: as of `ask`, as are all others.

    Attributes:
        question: the question.
        chunks: the numbers of the rows that are asked at once.
    """

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        *,
        given: str | Sequence[str] | None = None,
        want: str | Sequence[str],
        draws: int = 64,
        method: str = "guide",
        seed: int = 0,
        keep_draws: bool = False,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        memory: int | str = MEMORY,
        precision: str = "fp32",
        set_condition: Mapping[str, Any] = {},
        only_missing: bool = False,
    ) -> None:
        self.given = None if given is None else members(program.modalities, names_in(given))
        self._set_condition, self._only_missing = set_condition, only_missing
        memory = size_in("query: memory", memory) if isinstance(memory, str) else memory
        if memory < 1:
            raise UsageError(f"query: {memory} bytes of memory; take some, such as 2_000_000_000.")
        if only_missing and set_condition:
            raise UsageError(
                "query: --only-missing keeps what was measured under each row's own conditions; leave out "
                "--set-condition."
            )
        wanted = members(program.modalities, names_in(want))
        how = (draws, method, seed, keep_draws, quantiles, precision)
        check_cells(program, dataset.observed, dataset.present)
        with turn(), torch.no_grad():
            shown = given_with_own(program, self.given, wanted) if only_missing else self.given
            self.question = question = Question.of(program, dataset, shown, wanted, *how, set_condition)
            scored = question.targets() if "evidence" in question.want else ()
            refuse_unseen(dataset.findings, [*question.given, *scored])
            size = chunk(
                lambda draws: _trial(question, draws), estimate(program), len(dataset), question.draws,
                question.held(), int(memory),
            )  # fmt: skip
        self.chunks, self._draws = torch.arange(len(dataset)).split(size.rows), size.draws
        self._wrong: list[dict[str, np.ndarray]] = []  # of each chunk that was answered
        self._khats: list[dict[str, np.ndarray]] = []

    @torch.no_grad()
    def answered(self, rows: Tensor) -> dict[str, dict[str, Any]]:
        """Answer the question for a chunk, each once: name → parts, as in `Answer.want`."""
        program, data = self.question.program, self.question.dataset
        found: dict[str, dict[str, Any]] = dict(answer_rows(self.question, rows, self._draws))
        found = {name: found[name] for name in self.question.want}
        tags = {m.name for m in program.modalities if kind(m) == "tags"}
        for name, parts in found.items():
            if "prob" in parts:
                classes = list(program.modality(name).classes or ())
                parts["predicted"] = np.asarray(classes)[parts["prob"].argmax(-1)]
                parts["classes"] = classes
            elif name in tags:
                parts["predicted"] = (parts["mean"] >= 0.5).astype(np.int64)
        for name in set(found) & set(program.quantities):
            _name_the_most(found[name], list(program.encoded))
        self._wrong.append(infinite_rows(found, len(rows)))
        self._khats.append({name: parts["khat"] for name, parts in found.items() if "khat" in parts})
        if self._only_missing:
            keep_observed(found, program, data.take(rows))
        for m in program.modalities:
            if m.name in found and m.name in data.present and m.sequence:
                _blank(found[m.name], data.present[m.name][rows].numpy(), data.observed[m.name][rows].numpy())
        return found

    def answer(self, ids: np.ndarray, found: dict[str, dict[str, Any]], run: str, warnings: list[str]) -> Answer:
        """Return what was found for the rows of these ids, with warnings that accompany it."""
        program = self.question.program
        features = {m.name: m.features for m in program.modalities if m.features and m.name in found}
        features |= dict.fromkeys(set(found) & set(program.quantities), program.encoded)
        return Answer(run, None if self.given is None else list(self.given), ids, found, warnings, features)

    def warnings(self) -> list[str]:
        """Return the warnings about all rows that were answered, one line each."""
        question = self.question
        targets = question.targets() if "evidence" in question.want else []
        others = question.want != ["evidence"]
        by_guide = others and question.method == "guide"
        wrong, khats = (
            {name: np.concatenate([chunk[name] for chunk in of]) for name in of[0]} for of in (self._wrong, self._khats)
        )
        return [
            *(nothing_given(question.dataset, question.given) if others else []),
            *(nothing_told(question.program, question.dataset, question.given) if by_guide else []),
            *(nothing_scored(question.dataset, targets) if targets else []),
            *not_finite(wrong, question.dataset, dict.fromkeys([*question.given, *targets])),
            *untrusted_weights({name: {"khat": khat} for name, khat in khats.items()}, question.draws),
            *about_conditions(question.program, question.dataset, self._set_condition),
        ]


def _blank(parts: dict[str, Any], present: np.ndarray, observed: np.ndarray) -> None:
    """Put NaN (of classes -1 or "", of marks False) where a step of a sequence is known not to exist, beyond the length
    of the row."""
    known = observed.reshape(-1, *[1] * (present.ndim - 1))
    for key, value in parts.items():
        if key in WHOLE:
            continue
        absent = known & ~present
        absent = absent[:, None] if key == "draws" else absent
        absent = absent.reshape(*absent.shape, *[1] * (value.ndim - absent.ndim))
        parts[key] = np.where(absent, {"f": np.nan, "i": -1, "b": False}.get(value.dtype.kind, ""), value)


def _fill(found: dict[str, dict[str, Any]], part: dict[str, dict[str, Any]], rows: Tensor, number: int) -> None:
    """Put the answer for some of `number` rows in its place. Parts that are joined in the end would be there twice."""
    at = slice(int(rows[0]), int(rows[-1]) + 1)
    for name, into in found.items():
        for key, value in part[name].items():
            if not isinstance(value, np.ndarray):  # names of classes
                into[key] = value
                continue
            if key not in into:
                into[key] = np.empty((number, *value.shape[1:]), value.dtype)
            into[key][at] = value


def _trial(question: Question, draws: int) -> None:
    """Ask the question about the first row with so many draws, to measure how much memory that takes."""
    answer_rows(dataclasses.replace(question, draws=draws), torch.tensor([0]), draws)


def _name_the_most(parts: dict[str, Any], modalities: list[str]) -> None:
    """Add the names of the modalities, and of the one of the largest value in each row ("" where several have it)."""
    value = parts["value"]
    parts["modalities"] = modalities
    alone = (value == value.max(-1, keepdims=True)).sum(-1) == 1
    parts["most"] = np.where(alone & value.any(-1), np.asarray(modalities)[value.argmax(-1)], "")
