"""Answers in AnnData and MuData: latents in `obsm`, modalities in `layers`, labels in `obs`, by the names of rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.extras import extra
from ...base.files import replacing
from ...errors import UsageError

if TYPE_CHECKING:
    from ..answer import Answer

KEY = "X_mmppl"  # of the latent z; that of another latent is X_mmppl_NAME
PARTS = {"mean": "", "std": "_sd"}
LAYERS = {"mean": "mmppl_mean", "std": "mmppl_sd"}


def add_to_anndata(answer: Answer, adata: Any, *, name: str | None = None) -> Any:
    """Put an answer into an AnnData, by the names of its rows and features.

    Args:
        answer: the answer.
        adata: the AnnData; it is changed. Rows about which nothing was asked get NaN.
        name: the modality that it holds; None: the one whose features it has.

    Returns:
        The same AnnData, with means and standard deviations of latents in `obsm["X_mmppl"]` and `["X_mmppl_sd"]`, those
        of the modality in `layers["mmppl_mean"]` and `["mmppl_sd"]`, of others in `obsm["mmppl_NAME"]`; of a label
        `obs["mmppl_LABEL"]`, what is predicted, and `obsm["mmppl_LABEL_prob"]`; single numbers in `obs`.

    Raises:
        UsageError: no row of the answer is among those of the AnnData, or it has no modality of the name.
    """
    at = _places(answer, adata, "to_anndata")
    own = _own(answer, adata) if name is None else name
    for wanted, parts in answer.want.items():
        if wanted == own and "mean" in parts:
            _add_layers(answer, adata, at, wanted)
        else:
            _add_beside(answer, adata, at, wanted)
    return adata


def add_to_mudata(answer: Answer, mdata: Any) -> Any:
    """Put an answer into a MuData, by the names of its rows, modalities and features.

    Args:
        answer: the answer.
        mdata: the MuData; it is changed. Rows about which nothing was asked get NaN.

    Returns:
        The same MuData: a modality of it gets layers, for the rows that it has; all else is for all rows, in the `obs`
        and `obsm` of MuData itself. What was answered of rows that a modality lacks is in `obsm["mmppl_NAME"]`.

    Raises:
        UsageError: no row of the answer is among those of the MuData.
    """
    at = _places(answer, mdata, "to_mudata")
    for wanted, parts in answer.want.items():
        inside = mdata.mod.get(wanted)
        if inside is not None and "mean" in parts:
            _add_layers(answer, inside, _places(answer, inside), wanted)
        if inside is None or set(answer.ids.tolist()) - set(inside.obs_names):
            _add_beside(answer, mdata, at, wanted)
    return mdata


def save_h5ad(answer: Answer, path: Path) -> None:
    """Write an answer as an AnnData of its own, without X.

    Args:
        answer: the answer.
        path: the file to replace or to create.

    Raises:
        UsageError: anndata is not installed.
    """
    with extra("omics", f"{path}: writing it"):
        import anndata
    adata = _empty(answer, anndata, 0)
    add_to_anndata(answer, adata)
    with replacing(path) as staged:
        adata.write_h5ad(staged)


def save_h5mu(answer: Answer, path: Path) -> None:
    """Write an answer as a MuData of its own: each modality is an AnnData whose X are the means.

    Args:
        answer: the answer.
        path: the file to replace or to create.

    Raises:
        UsageError: mudata is not installed, or the answer is about no modality with features.
    """
    with extra("omics", f"{path}: writing it"):
        import anndata
        import mudata
    blocks = {}
    for name, features in answer.features.items():
        if "mean" in answer.want[name]:
            blocks[name] = _empty(answer, anndata, len(features))
            blocks[name].var_names = list(features)
            blocks[name].X = np.asarray(answer.want[name]["mean"]).reshape(answer.n, -1)
    if not blocks:
        raise UsageError(f"{path}: no modality with named features was wanted; write .h5ad or .parquet.")
    with warnings.catch_warnings(), replacing(path) as staged:
        warnings.simplefilter("ignore", FutureWarning)  # of mudata 0.3, about columns that there are not
        add_to_mudata(answer, mudata.MuData(blocks)).write_h5mu(staged)


def _empty(answer: Answer, anndata: Any, width: int) -> Any:
    import pandas

    names = [str(name) for name in answer.ids.tolist()]
    return anndata.AnnData(shape=(answer.n, width), obs=pandas.DataFrame(index=names))


def _places(answer: Answer, adata: Any, method: str = "") -> np.ndarray:
    """Return (N,) the row of the answer about each row, −1 where there is none."""
    rows = {str(name): row for row, name in enumerate(answer.ids.tolist())}
    at = np.array([rows.get(str(name), -1) for name in adata.obs_names], np.int64)
    if method and answer.n and not (at >= 0).any():
        raise UsageError(
            f"answer.{method}: no row of the answer is there, such as {str(answer.ids[0])!r}; give the data that were "
            "asked about."
        )
    return at


def _own(answer: Answer, adata: Any) -> str | None:
    """Return the name of the modality whose features an AnnData has."""
    names = set(map(str, adata.var_names))
    return next((name for name, features in answer.features.items() if features and set(features) <= names), None)


def _spread(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return what is known of each row, NaN where nothing is; (N, ·)."""
    flat = np.asarray(values).reshape(len(values), -1)
    out = np.full((len(at), flat.shape[1]), np.nan, flat.dtype if flat.dtype.kind == "f" else np.float64)
    out[at >= 0] = flat[at[at >= 0]]
    return out


def _add_layers(answer: Answer, adata: Any, at: np.ndarray, name: str) -> None:
    """Put means and standard deviations of a modality into layers, its features in their places."""
    features = answer.features.get(name, ())
    columns = {str(column): number for number, column in enumerate(adata.var_names)}
    if not features and np.asarray(answer.want[name]["mean"]).reshape(answer.n, -1).shape[1] == len(columns):
        features = tuple(columns)
    there = [number for number, feature in enumerate(features) if feature in columns]
    if not there:
        raise UsageError(f"answer: no feature of {name!r} is in var_names; give the data that were asked about.")
    into = [columns[features[number]] for number in there]
    for part, layer in LAYERS.items():
        values = _spread(answer.want[name][part], at)
        out = np.full(adata.shape, np.nan, values.dtype)
        out[:, into] = values[:, there]
        adata.layers[layer] = out


def _add_beside(answer: Answer, adata: Any, at: np.ndarray, name: str) -> None:
    """Put what was answered into `obs` and `obsm`."""
    import pandas

    key = KEY if name == "z" else f"mmppl_{name}"
    parts = answer.want[name]
    if "prob" in parts and np.ndim(parts["prob"]) == 2:
        predicted = np.asarray(parts["predicted"]).astype(str)
        of_rows = [predicted[row] if row >= 0 else None for row in at.tolist()]
        classes = [str(c) for c in parts["classes"]]
        adata.obs[key] = pandas.Categorical(of_rows, categories=classes)
        adata.obsm[f"{key}_prob"] = _named(_spread(parts["prob"], at), adata, classes)
        return
    for suffix, values in _numbers(parts):
        spread = _spread(values, at)
        if spread.shape[1] == 1:
            adata.obs[f"{key}{suffix}"] = spread[:, 0]
        else:
            adata.obsm[f"{key}{suffix}"] = _named(spread, adata, answer.features.get(name, ()))


def _named(values: np.ndarray, adata: Any, columns: Sequence[str]) -> Any:
    """Return values with the names of their columns, where AnnData can write these: one with a / it cannot."""
    if len(columns) != values.shape[1] or any("/" in column for column in columns):
        return values
    import pandas

    return pandas.DataFrame(values, adata.obs_names, columns=list(columns))


def _numbers(parts: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Means and standard deviations; of evidence the nats and their error; of importances the values."""
    if "mean" in parts:
        yield from ((suffix, parts[part]) for part, suffix in PARTS.items() if part in parts)
    elif "nats" in parts:
        yield from (("", parts["nats"]), ("_se", parts["se"]))
    elif "value" in parts:
        yield "", parts["value"]
    elif "prob" in parts:
        yield "_prob", parts["prob"]
