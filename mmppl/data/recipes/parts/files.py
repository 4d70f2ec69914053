"""The files that a recipe needs: where they are below ROOT, and what to say if they are not there."""

from __future__ import annotations

import http.client
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ....errors import DataError


@dataclass(frozen=True)
class Files:
    """The files of one origin, all of them in one folder.

    Args:
        names: the names of the files.
        folders: the folders below ROOT where they may be; messages ask for them in the first.
        fetch: downloads them to somewhere below the ROOT that it is given.
        endings: the endings that a name may have.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    fetch: Callable[[Path], None]
    endings: tuple[str, ...] = ("",)

    def find(self, recipe: str, root: Path | None, download: bool, *, beside: str = "") -> list[Path]:
        """Find the files, and download them if that is allowed.

        Args:
            recipe: the name of the recipe, for messages.
            root: the folder ROOT; None means $MMPPL_DATA.
            download: whether to download missing files.
            beside: what else the recipe needs, for messages.

        Returns:
            The paths, in the order of `names`.

        Raises:
            DataError: not all are there; the message says what to put where.
        """
        wanted, beside = self.listed, f", with {beside}" if beside else ""
        root = root_or_default(root)
        if root is None:
            raise DataError(
                f"{recipe}: needs {wanted} in ROOT/{self.folders[0]}{beside}; give --root ROOT or set MMPPL_DATA "
                "(and --download to fetch them)."
            )
        if download and not self._present(root):
            self._download(recipe, root)
        if found := self._present(root):
            return found
        place = root / self.folders[0]
        raise DataError(f"{recipe}: put {wanted} into {place} (not all are there){beside}, or give --download.")

    @property
    def listed(self) -> str:
        """The names, for messages."""
        return ", ".join(name + f"[{self.endings[-1]}]" * (len(self.endings) > 1) for name in self.names)

    def _present(self, root: Path) -> list[Path] | None:
        for folder in self.folders:
            if found := present(root / folder, self.names, self.endings):
                return found
        return None

    def _download(self, recipe: str, root: Path) -> None:
        try:
            self.fetch(root)
        except (ImportError, RuntimeError, OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{recipe}: the download into {root} failed ({reason[:200]}); put {', '.join(self.names)} into "
                f"{root / self.folders[0]} by hand."
            ) from None


def root_or_default(root: Path | None) -> Path | None:
    """Return the folder with the files of recipes.

    Args:
        root: the folder, or None.

    Returns:
        `root`, or else $MMPPL_DATA, or else None.
    """
    return root if root is not None else Path(os.environ["MMPPL_DATA"]) if os.environ.get("MMPPL_DATA") else None


def present(folder: Path, names: tuple[str, ...], endings: tuple[str, ...] = ("",)) -> list[Path] | None:
    """Look for files in a folder.

    Args:
        folder: the folder.
        names: the names of the files.
        endings: the endings that a name may have.

    Returns:
        The paths, or None if a file is missing.
    """
    places = [[folder / f"{name}{end}" for end in endings] for name in names]
    found = [next((p for p in places_of_one if os.path.isfile(p)), None) for places_of_one in places]
    return [path for path in found if path] if all(found) else None
