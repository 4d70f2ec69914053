"""The answer to a query: means, spreads, quantiles, class probabilities, for each row and each name that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..base.text import printable
from ..errors import suggest
from .formats.files import save
from .psis import MAX_KHAT


@dataclass
class Answer:
    """The answers for n rows.

    Attributes:
        run: the run folder, or the name of the model, that was asked.
        given: the names that were given; None if each row was asked with whatever it has.
        ids: (n,) row ids, in the order of the rows.
        want: name → {"mean", "std", "q05", "q50", "q95", ...: (n, *shape)} in the units of the input; for classes
            {"prob": (n, *shape, K), "classes": names, "predicted": (n, *shape) names}; for tags (a label of
            probabilities) also "predicted", 1 where the mean is at least ½, else 0; where only missing cells were
            asked for "imputed", (n, *shape) bool, too; for "evidence" {"nats", "se",
            "ess", "khat": (n,)}, with "se" NaN where k̂ is above 0.7; for "importance" {"value": (n, M), 0 where a
            modality is missing or not given, "modalities": their M names, "most": (n,) the name of the one that is
            trusted most, "" where nothing is given or several are trusted alike}.
        warnings: warnings that accompany the answer, one line each, such as about rows without any observed value,
            values that are not finite, or importance weights that cannot be trusted.
        features: name → the names of its features, where it has any; a .csv file names its columns by them.

    Example:
        >>> import mmppl, numpy as np
        >>> answer = mmppl.Answer("model", ["image"], np.array([12, 24]), {"z": {"mean": np.zeros((2, 3))}})
        >>> answer.n, answer["z"]["mean"].shape
        (2, (2, 3))
    """

    run: str
    given: list[str] | None
    ids: np.ndarray
    want: dict[str, dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """The number of rows that were asked about."""
        return len(self.ids)

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return what was answered about one name: `answer["label"]["prob"]`.

        Args:
            name: a name that was wanted.

        Returns:
            The parts of `want[name]`.

        Raises:
            KeyError: there is no answer about that name.
        """
        if name not in self.want:
            known = list(self.want)
            raise KeyError(f"no answer about {name!r}; there is {', '.join(known)}.{suggest(str(name), known)}")
        return self.want[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names that were wanted, as a dict does."""
        return iter(self.want)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `mmppl query --json` prints: nested lists with one entry per row."""
        want = {
            name: {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in parts.items()}
            for name, parts in self.want.items()
        }
        head = {"run": self.run, "n": self.n, "given": self.given, "ids": self.ids.tolist()}
        return head | {"want": want, "warnings": list(self.warnings)}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return flat keys `id`, `<name>.mean`, `<name>.prob`, ... → arrays with n rows (names of classes or
        modalities: with one entry for each)."""
        flat = {"id": self.ids}
        for name, parts in self.want.items():
            flat |= {f"{name}.{key}": np.asarray(value) for key, value in parts.items()}
        return flat

    def save(self, path: str | Path) -> None:
        """Write the answer to a file, in the format of its suffix.

        Args:
            path: a .npz file, which gets the keys of `arrays`; or a .csv or .parquet file, in which an array with
                several numbers per row gets columns `name.mean.0`, or `name.mean.FEATURE` if its features have names.
                In a .parquet file an image is one column of nested lists. A .h5ad or .h5mu file gets an AnnData or a
                MuData of the rows that were asked, filled as by `to_anndata` and `to_mudata`.

        Raises:
            UsageError: no format has the suffix, or the package that writes it is not installed.
        """
        save(self, path)

    def to_frame(self, backend: str = "pandas") -> Any:
        """Return the answer as a DataFrame, one row for each of its rows, with the columns of a .csv file.

        Args:
            backend: "pandas", whose index are the ids; "polars" or "pyarrow", with a column `id`, and with images in
                one column each.

        Raises:
            UsageError: the backend is unknown or not installed.
        """
        from .formats.frame import frame_of

        return frame_of(self, backend)

    def to_anndata(self, adata: Any, name: str | None = None) -> Any:
        """Put the answer into an AnnData, by the names of its rows and features; see `formats.omics.add_to_anndata`.

        Args:
            adata: the AnnData; it is changed, and returned.
            name: the modality that it holds; None: the one whose features it has.

        Raises:
            UsageError: no row of the answer is among those of the AnnData.
        """
        from .formats.omics import add_to_anndata

        return add_to_anndata(self, adata, name=name)

    def to_mudata(self, mdata: Any) -> Any:
        """Put the answer into a MuData, by the names of its rows, modalities and features; see
        `formats.omics.add_to_mudata`.

        Args:
            mdata: the MuData; it is changed, and returned.

        Raises:
            UsageError: no row of the answer is among those of the MuData.
        """
        from .formats.omics import add_to_mudata

        return add_to_mudata(self, mdata)

    def to_arviz(self) -> Any:
        """Return the draws as ArviZ's InferenceData, with one chain and the ids of the rows as coordinates.

        Raises:
            UsageError: the answer has no draws (`keep_draws=True`), or ArviZ is not installed.
        """
        from .formats.arviz import inference_data

        return inference_data(self)

    def summary(self) -> list[str]:
        """Return lines about all rows: for every quantity, how often each modality has the most of it, and its mean
        where the modality is seen.
        """
        lines = []
        for name, parts in self.want.items():
            if "most" not in parts:
                continue
            shares = []
            for i, modality in enumerate(parts["modalities"]):
                seen = parts["value"][:, i] > 0
                mean = f"{parts['value'][seen, i].mean():.2f}" if seen.any() else "none"
                shares.append(f"{modality} {np.mean(parts['most'] == modality):.1%} (mean {mean})")
            lines.append(f"most {name}, of {self.n:,} rows: {', '.join(shares)}")
        return lines

    def table(self, rows: int = 5) -> str:
        """Return the first rows as text.

        Args:
            rows: how many rows.

        Returns:
            Several lines.
        """
        lines = []
        for i in range(min(rows, self.n)):
            lines.append(f"row {printable(self.ids[i])}")
            for name, parts in self.want.items():
                lines.append(f"  {printable(name):<12} {printable(_brief(parts, i, self.features.get(name, ())))}")
        if self.n > rows:
            lines.append(f"... {self.n - rows} more rows (--out FILE.csv, .parquet or the like keeps all)")
        lines += map(printable, self.summary())
        return "\n".join(lines)


def _brief_of_imputed(parts: dict[str, Any], i: int, features: tuple[str, ...] = ()) -> str:
    """The first few cells that are imputed, and how many are."""
    imputed = parts["imputed"][i].ravel()
    at = np.flatnonzero(imputed)
    mean, std = parts["mean"][i].ravel(), parts["std"][i].ravel()
    names = features if len(features) == len(imputed) else range(len(imputed))
    cells = [f"{names[k]} {mean[k]:.4g} ± {std[k]:.2g}" for k in at[:6]]
    return f"{len(at)} of {len(imputed)} missing{': ' * bool(cells)}{', '.join(cells)}{' ...' * (len(at) > 6)}"


def _brief(parts: dict[str, Any], i: int, features: tuple[str, ...] = ()) -> str:
    if "nats" in parts:
        khat = parts["khat"][i]
        error = "distrusted" if khat > MAX_KHAT else f"± {parts['se'][i]:.2g}"
        return f"{parts['nats'][i]:.2f} nats {error} (ESS {parts['ess'][i]:.0f}, k̂ {khat:.2f})"
    if "most" in parts:
        values = zip(parts["modalities"], parts["value"][i])
        most = parts["most"][i] or ("several alike" if parts["value"][i].any() else "none is given")
        return ", ".join(f"{m} {v:.3f}" for m, v in values) + f"  (most: {most})"
    if "prob" in parts:
        prob = np.asarray(parts["prob"][i])
        if prob.ndim == 1:
            order = prob.argsort()[::-1][:3]
            return ", ".join(f"{parts['classes'][k]} {prob[k]:.1%}" for k in order)
        return "".join(str(c) for c in np.asarray(parts["predicted"][i]).ravel())
    if "imputed" in parts and parts["imputed"][i].size > 1 and "mean" in parts:
        return _brief_of_imputed(parts, i, features)
    mean, std = np.asarray(parts["mean"][i]), np.asarray(parts["std"][i])
    if mean.size == 1:
        low, high = (f"{np.asarray(parts[q][i]).item():.4g}" for q in ("q05", "q95")) if "q05" in parts else ("", "")
        return f"{mean.item():.4g} ± {std.item():.2g}" + (f"  90 %: {low} to {high}" if low else "")
    few = " ".join(f"{x:.3g}" for x in mean.ravel()[:6])
    spread = std[~np.isnan(std)].mean() if not np.isnan(std).all() else np.nan
    return f"mean {few}{' ...' if mean.size > 6 else ''}  (mean sd {spread:.3g}; shape {mean.shape})"
