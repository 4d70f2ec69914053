"""`read` is the one entrance for data: a reader gets the arrays out of a source, and `ingest` makes a `Dataset` of
them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base.parsing import names as names_in
from ..errors import UsageError
from ..modalities.modality import Modality
from .dataset import Dataset
from .examine.report import refuse_suspected
from .readers.refusal import refusal
from .readers.registry import Arrays, Request, reader_of
from .schema.changed import with_schema
from .schema.ingest import from_arrays, with_mask


def read(
    data: Any,
    *,
    root: str | Path | None = None,
    as_: Mapping[str, str] = {},
    schema: Sequence[Modality] | None = None,
    seed: int = 0,
    hide: float = 0.0,
    hide_seed: int = 0,
    hide_cells: float = 0.0,
    download: bool = False,
    missing: Mapping[str, Sequence[Any]] = {},
    target: str | Sequence[str] | None = None,
    strict: bool = False,
) -> Dataset:
    """Read a data set from a recipe, a file, a folder, arrays or a DataFrame.

    Args:
        data: a recipe with or without options ("digits-two-view:rotate=fresh"), the path of an .npz file or of a folder
            or .zip of recordings (see `readers.speech`), a mapping of name → array, a DataFrame (columns
            `modality:feature` are grouped), a `Dataset`, or anything that a reader of your own accepts (see
            `mmppl.reader`). An .npz file or mapping with utterances of words and acoustic vectors is paired (see
            `readers.tokens`), and one in the layout of MultiBench becomes sequences (see `readers.papers.multibench`),
            as does a folder of .csd files (see `readers.sdk`).
        root: the folder with the files that a recipe needs; None means $MMPPL_DATA.
        as_: name → "likelihood[:key=value,…]" with the keys scale (a number, learned, predicted), role (modality,
            label) and transform (none, standardise, log1p, image), or "ignore" to leave an array out, "annotation"
            to keep one value per row that no program sees (`Dataset.annotations`), or "group" to keep the rows that
            share a value together in every split that is drawn (so does an array named `group`).
        schema: the modalities of a run. The data then take its scaling and classes, arrays that differ are reported,
            and a modality that the data lack is missing in every row. Of `as_` only "ignore" and "annotation" have an
            effect then, and names that the data lack are passed over.
        seed: the seed of the split, for data that bring none. A recipe has a seed of its own, as an option.
        hide: the share of the modalities to mask at random, as `Dataset.mask_at_random` does. Masked values do not
            influence the scaling, unless the units come from a recipe, a `Dataset` or `schema`. The unmasked rows are
            kept in `Dataset.whole`.
        hide_seed: the seed of that mask, and of the next.
        hide_cells: the share of the single cells to mask at random, in modalities of several cells
            (`Dataset.mask_cells_at_random`), which `evaluate` scores. As of `hide`, they influence no scaling.
        download: if True, a recipe may download its files into `root`.
        missing: name → the values that stand for "missing" in an array, such as [-9, -99] or ["Unknown"], or
            "zero-rows" for rows of zeros alone; [] keeps everything. By default, text like "" and "NA" in one column
            and −2³¹ (R's NA) are missing. A run remembers this for other data.
        target: the name, or several, of what is to be predicted: labels. Everything else is then an input, which a
            query may be given. None: labels are what is named `label…` or `y`.
        strict: if True, data in which something is suspected (`Dataset.findings`) are refused.

    Returns:
        The data in model units, with a split and a schema.

    Raises:
        UsageError: a recipe, option, likelihood or name is unknown.
        DataError: a file or array is missing, corrupt or inconsistent.

    Example:
        >>> import mmppl, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> arrays = {"image": rng.random((20, 8, 8)), "age": rng.normal(40, 9, 20), "label": np.arange(20) % 2}
        >>> data = mmppl.read(arrays)
        >>> [(m.name, m.likelihood, m.role) for m in data.modalities]
        [('image', 'bernoulli', 'modality'), ('age', 'normal', 'modality'), ('label', 'categorical', 'label')]
        >>> data.rows("train").numel()
        14
    """
    targets = None if target is None else names_in(target)
    ignored = frozenset(name for name, how in as_.items() if how == "ignore")
    found = _read_source(data, Request(ignored, schema, Path(root) if root else None, download))
    if isinstance(found, Arrays):
        dataset = from_arrays(
            found.arrays, name=found.name, features=found.features, as_={**found.as_, **as_}, schema=schema, seed=seed,
            hide=hide, hide_seed=hide_seed, hide_cells=hide_cells, annotations=found.annotations, notes=found.notes,
            missing=missing, target=targets,
        )  # fmt: skip
        if strict:
            refuse_suspected(dataset)
        return dataset
    if missing and schema is None:
        raise UsageError(f"--missing: {found.name} is in the units of the model already; mask its rows instead.")
    changed = with_schema(found, as_=as_, schema=schema, target=targets)
    return with_mask(changed, hide, hide_seed, cells=hide_cells, fixed=schema is not None)


def _read_source(source: Any, request: Request) -> Arrays | Dataset:
    """Return what the readers make of a source. A reader may return something that another reader takes, once."""
    chosen = reader_of(source)
    if chosen is None:
        raise refusal(source)
    name, reader = chosen
    found = reader.read(source, request)
    if isinstance(found, (Arrays, Dataset)):
        return found
    again = None if isinstance(found, (str, os.PathLike)) else reader_of(found)
    read_again = again and again[1].read(found, request)
    if isinstance(read_again, Dataset):
        return read_again
    if isinstance(read_again, Arrays):
        named = str(source) if name == "recipe" else Path(source).name if isinstance(source, (str, os.PathLike)) else ""
        return dataclasses.replace(read_again, name=named or read_again.name)
    raise UsageError(f"reader {name!r} returned a {type(found).__name__}; return arrays by name, or a DataFrame.")
