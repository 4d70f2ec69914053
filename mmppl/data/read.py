"""`read` is the one entrance for data: a reader gets the arrays out of a source, and `ingest` makes a `Dataset` of
them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.choices import Store
from ..base.parsing import names as names_in
from ..errors import UsageError
from ..modalities.modality import Modality
from .dataset import Dataset
from .examine.report import refuse_suspected
from .mapped.read import read_large
from .mapped.store import kept_in
from .readers.parts.files import errors_naming
from .readers.refusal import refusal
from .readers.registry import Arrays, Request, reader_of
from .schema.changed import with_schema
from .schema.grouping.column_names import as_text
from .schema.ingest import from_arrays, with_mask
from .schema.parts import checked_parts, with_parts
from .schema.schema_file import read_schema


def read(
    data: Any,
    *,
    root: str | Path | None = None,
    as_: Mapping[str, str | Sequence[str]] = {},
    schema: Sequence[Modality] | None = None,
    seed: int = 0,
    hide: float = 0.0,
    hide_seed: int = 0,
    hide_cells: float = 0.0,
    download: bool = False,
    missing: Mapping[str, Sequence[Any]] = {},
    target: str | Sequence[str] | None = None,
    strict: bool = False,
    schema_file: str | Path | None = None,
    split: np.ndarray | Sequence[int] | None = None,
    store: Store | None = None,
) -> Dataset:
    """Read a data set from a recipe, a file, a folder, arrays or a DataFrame.

    Args:
        data: a recipe with or without options ("digits-two-view:rotate=fresh"), the path of an .npz file or of a folder
            or .zip of recordings (see `readers.speech`), of an .h5ad or .h5mu file, with or without options
            ("cells.h5mu:layer=counts", see `readers.omics`), an AnnData or MuData, a mapping of name → array, a
            DataFrame (columns `modality:feature` are grouped), a `Dataset`, or what a reader of your own accepts (see
            `mmppl.reader`). An .npz file or mapping with utterances of words and acoustic vectors is paired (see
            `readers.tokens`), and one in the layout of MultiBench becomes sequences (see `readers.papers.multibench`),
            as does a folder of .csd files (see `readers.sdk`). A Parquet, Feather or Arrow file, a folder of its parts
            or a list of their paths is a table (see `readers.arrow.table`), whose cells may name files (see
            `readers.manifest.files`); an .npy file is one array, a .safetensors file several, and the items of a list
            or of a torch `Dataset` may be dicts.
        root: the folder with the files that a recipe needs; None means $MMPPL_DATA.
        as_: name → "likelihood[:key=value,…]" with the keys scale (a number, learned, predicted), role (modality,
            label, condition) and transform (none, standardise, log, log1p, image), of an ordinal order (its classes
            from the lowest on, joined by "/" or "<"), of a weibull event (the array that is 1 where a time is that of
            an event and 0 where it is censored; event_<name> by default); "column:likelihood,…" for a group of columns
            of several kinds, which becomes a modality for each kind; "condition" for what encoders and decoders see and
            nothing predicts, such as a batch or a site; "ignore" to leave an array out; "annotation" to keep one value
            per row that no program sees (`Dataset.annotations`); "group" to keep the rows that share a value together
            in every split that is drawn (so does an array named `group`); "time" (numbers, or dates such as 2024-05-31)
            to test on the latest rows, and to hold out the latest ones before them; or "id" for the
            column that names the rows. Names of columns make one modality of them, ["crp", "alb"] or "crp,alb" or a
            pattern such as "gene_*", also with what it is, "crp,alb:normal:scale=1". The name "*" stands for all arrays
            that are not named. A run remembers this for other data.
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
        schema_file: a file of `write_schema`, which says what each array is; `as_`, `missing` and `target` come first.
        split: (N,) the parts of the rows in the order of the source, instead of its own: 0 train, 1 valid, 2 test, −1
            left out. Scales and classes are learnt from these train rows, unless the source is in the units of the
            model already, such as a recipe. Without a valid row some train rows become valid.
        store: "disk" keeps the arrays of a Parquet, .npy or .npz file in files of the cache folder, from which they are
            read while they are used, with the same results to the bit; "memory" keeps them in memory; "auto" takes the
            disk for what is larger than a quarter of the free memory; None takes $MMPPL_STORE, or else "auto".

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
    if schema_file is not None:
        said = read_schema(schema_file).options(as_, missing, target)
        as_, missing, target = said["as_"], said["missing"], said["target"]
    targets = None if target is None else names_in(target)
    parts = None if split is None else checked_parts(split)
    texts = {name: as_text(how) for name, how in as_.items()}
    ignored = frozenset(name for name, how in texts.items() if how == "ignore")
    request = Request(ignored, schema, Path(root) if root else None, download, texts, missing, targets)
    with kept_in(store):
        found = _read_source(data, request)
    if isinstance(found, Arrays):
        with errors_naming(found.name if found.table else ""):
            dataset = from_arrays(
                found.arrays, name=found.name, features=found.features, as_={**found.as_, **texts}, schema=schema,
                seed=seed, hide=hide, hide_seed=hide_seed, hide_cells=hide_cells, annotations=found.annotations,
                notes=found.notes, missing=missing, target=targets, levels=found.levels, understood=found.told,
                tabular=found.table, split=parts,
            )  # fmt: skip
        if strict:
            refuse_suspected(dataset)
        return dataset
    if missing and schema is None:
        raise UsageError(f"--missing: {found.name} is in the units of the model already; mask its rows instead.")
    if parts is not None:
        found = with_parts(found, parts)
    changed = with_schema(found, as_=texts, schema=schema, target=targets)
    if not hide and not hide_cells:
        return changed  # with what was hidden before, which metrics of hidden cells ask for
    return with_mask(changed, hide, hide_seed, cells=hide_cells, fixed=schema is not None)


def _read_source(source: Any, request: Request) -> Arrays | Dataset:
    """Return what the readers make of a source. A reader may return something that another reader takes, once."""
    if (large := read_large(source, request)) is not None:
        return large
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
