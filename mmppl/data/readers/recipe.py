"""Makes the data set of a recipe."""

from __future__ import annotations

from typing import Any

from ..recipes.registry import RECIPES, make, on_disk
from .registry import Request, reader


@reader("recipe")
class RecipeReader:
    """The name of a recipe, with or without options."""

    def accepts(self, source: Any) -> bool:
        """Whether a recipe has that name, and no file."""
        return isinstance(source, str) and source.partition(":")[0] in RECIPES and not on_disk(source)

    def read(self, source: str, request: Request) -> Any:
        """What the recipe makes: a `Dataset`, or what another reader takes.

        Raises:
            UsageError: an unknown option or value.
            DataError: files that are missing or corrupt.
        """
        return make(source, root=request.root, download=request.download)
