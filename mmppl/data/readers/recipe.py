"""The reader that makes the data set of a recipe."""

from __future__ import annotations

from typing import Any

from ..recipes.registry import RECIPES, make, on_disk
from .registry import Request, reader


@reader("recipe")
class RecipeReader:
    """The name of a recipe, with or without options."""

    def accepts(self, source: Any) -> bool:
        """Say whether a recipe, and no file, has that name."""
        return isinstance(source, str) and source.partition(":")[0] in RECIPES and not on_disk(source)

    def read(self, source: str, request: Request) -> Any:
        """Return what the recipe makes: a `Dataset`, or anything that another reader takes.

        Raises:
            UsageError: an option or value is unknown.
            DataError: files are missing or corrupt.
        """
        return make(source, root=request.root, download=request.download)
