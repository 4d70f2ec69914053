"""What of an AnnData or MuData is read: X, or a layer in its place, and blocks of `obsm` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....errors import UsageError, suggest

OPTIONS = ("layer", "obsm", "name")


@dataclass
class Choice:
    """What is to be read.

    Args:
        layers: names of layers that are read in place of X, wherever they are; "MODALITY/LAYER" of one modality.
        obsm: names of blocks of `obsm` that are modalities, too; "MODALITY/BLOCK" of one modality's.
        name: the name of the modality of an AnnData, which has none of its own.
        met: those of the layers and blocks that were there so far.
        there: "layer" or "obsm" → all that were there so far.
    """

    layers: tuple[str, ...] = ()
    obsm: tuple[str, ...] = ()
    name: str = "X"
    met: set[str] = field(default_factory=set)
    there: dict[str, list[str]] = field(default_factory=lambda: {"layer": [], "obsm": []})

    @classmethod
    def parse(cls, text: str, place: str) -> Choice:
        """Read the options behind a path: "layer=counts,obsm=X_pca".

        Args:
            text: the options; "" where there are none.
            place: the file, for messages.

        Returns:
            The choice.

        Raises:
            UsageError: an option is unknown or has no value.
        """
        found: dict[str, list[str]] = {option: [] for option in OPTIONS}
        for part in filter(None, text.split(",")):
            key, _, value = part.partition("=")
            if key not in OPTIONS:
                raise UsageError(f"{place}: no option {key!r}; it has {', '.join(OPTIONS)}.{suggest(key, OPTIONS)}")
            if not value:
                raise UsageError(f"{place}: the option {key} has no value; write {key}=NAME.")
            found[key].append(value)
        name = found["name"][-1] if found["name"] else cls.name
        return cls(tuple(found["layer"]), tuple(found["obsm"]), name)

    def matrices(
        self, name: str, x: Any, layers: Mapping[str, Any], obsm: Mapping[str, Any], columns: Sequence[str] | None
    ) -> tuple[dict[str, tuple[Any, Sequence[str] | None]], list[str]]:
        """Choose the matrices of one AnnData, or of MuData itself.

        Args:
            name: the name of the modality; "" of MuData itself, which has no X and no layers.
            x: its X, or None.
            layers: its layers.
            obsm: its blocks of `obsm`: matrices, DataFrames, or pairs of a matrix and the names of its columns.
            columns: the names of its features.

        Returns:
            Name of the modality → the matrix and the names of its features, and notes about what was chosen.
        """
        self.there["layer"] += [f"{name}/{layer}" for layer in layers]
        self.there["obsm"] += [f"{name}/{block}" if name else block for block in obsm]
        found, notes = {}, []
        layer = self._met(self.layers, name, layers)
        if layer:
            x = layers[layer[-1]]
            notes.append(f"{name}: the layer {layer[-1]} in place of X")
        if x is not None:
            found[name] = (x, columns)
        for block in self._met(self.obsm, name, obsm):
            matrix, of = obsm[block], None
            if hasattr(matrix, "columns"):
                matrix, of = matrix.to_numpy(), [str(column) for column in matrix.columns]
            elif isinstance(matrix, tuple):
                matrix, of = matrix
            found[f"{name}_{block}" if name not in ("", self.name) else block] = (matrix, of)
        return found, notes

    def _met(self, wanted: Sequence[str], name: str, there: Mapping[str, Any]) -> list[str]:
        """Return those of the wanted names that are there, the ones of this very modality last."""
        own = [text for text in wanted if text.partition("/")[0] == name and text.partition("/")[2] in there]
        anywhere = [text for text in wanted if text in there]
        self.met.update(own, anywhere)
        return [*anywhere, *(text.partition("/")[2] for text in own)]

    def check_met(self, place: str) -> None:
        """Check that everything was there that was to be read.

        Args:
            place: the file, for messages.

        Raises:
            UsageError: a layer or block is nowhere.
        """
        for option, wanted in (("layer", self.layers), ("obsm", self.obsm)):
            for name in wanted:
                if name not in self.met:
                    known = list(dict.fromkeys(self.there[option]))
                    near = suggest(name, [*(text.rpartition("/")[2] for text in known), *known])
                    raise UsageError(f"{place}: no {option} {name!r}; there is {', '.join(known) or 'none'}.{near}")
