"""A schema in a TOML file: what was understood of data, to be edited and given back."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...base.files import write
from ...errors import DataError, MMPPLError, UsageError, suggest
from ..annotations import WORD
from ..readers.parts.files import contents
from ..splits import GROUP
from ..time_order import TIME
from .grouping.column_names import ID, OTHERS, as_text, quoted
from .grouping.mixed import NUMBERS
from .overrides import Override, parse_overrides

if TYPE_CHECKING:
    from ...modalities.modality import Modality
    from ..dataset import Dataset

LISTS = ("ignore", WORD)  # keys at the top whose values are lists of names
NAMES = (ID, GROUP, TIME)  # keys at the top whose values are one name
MODALITY = "modality"  # the key of the tables
BARE = re.compile("[A-Za-z0-9_-]+")  # keys that TOML takes without quotes
OWN = ("columns", "group", "missing", "event_missing")
VALUES = ("missing", "event_missing")  # keys whose values are lists of values
KEYS = tuple(f.name for f in dataclasses.fields(Override) if f.name not in ("likelihood", *OWN))


@dataclass(frozen=True)
class SchemaFile:
    """What a schema file says, as options of `mmppl.read` and `mmppl.fit`.

    Args:
        path: the file.
        tables: the name of a modality → its keys.
        aside: name → "ignore", "annotation", "id", "group" or "time".

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "schema.toml"
        >>> text = 'ignore = ["notes"]\\n[modality.lab]\\ncolumns = ["crp", "alb"]\\nlikelihood = "normal"\\n'
        >>> file.write_text(text + 'missing = ["-9"]\\n') > 0
        True
        >>> read_schema(file).options()["as_"]
        {'notes': 'ignore', 'lab': 'crp,alb:normal', '*': 'ignore'}
    """

    path: Path
    tables: Mapping[str, Mapping[str, Any]]
    aside: Mapping[str, str] = field(default_factory=dict)

    def options(
        self,
        as_: Mapping[str, Any] = {},
        missing: Mapping[str, Sequence[Any]] = {},
        target: str | Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Return the options `as_`, `missing` and `target`, in which those of the caller come first.

        Args:
            as_: what the caller says about arrays; a likelihood leaves the columns of the file as they are.
            missing: the values that the caller takes for missing.
            target: the labels that the caller names; the roles in the file do not count then.

        Returns:
            Keyword arguments of `read` and `fit`.
        """
        own = {name: as_text(how) for name, how in as_.items()}
        found = dict(self.aside)
        for name, keys in self.tables.items():
            if keys.get("group") in own:
                continue
            columns = as_text(list(keys["columns"])) if "columns" in keys and "group" not in keys else ""
            says = own.pop(name, None) or _likelihood(keys, roles=target is None)
            found[name] = f"{columns}:{says}" if columns and says else columns or says
        as_ = {**found, **self._groups(), OTHERS: "ignore", **own}
        return {"as_": as_, "missing": {**self._missing(), **missing}, "target": target}

    def _groups(self) -> dict[str, str]:
        """Group → what each of its columns is, as `--as` writes it. What the parts are is said of each of them."""
        said: dict[str, list[str]] = {}
        for name, keys in self.tables.items():
            if group := keys.get("group"):
                how = NUMBERS if name == f"{group}_{NUMBERS}" else keys["likelihood"]
                apart = ":role=modality" * (keys["columns"] == [name.removeprefix(f"{group}_")])
                said.setdefault(group, []).extend(f"{quoted(column)}:{how}{apart}" for column in keys["columns"])
        return {group: ",".join(columns) for group, columns in said.items()}

    def _missing(self) -> dict[str, list[Any]]:
        """Name → the values that stand for "missing"; those that all parts of a group share are said of the group."""
        found = {name: list(keys["missing"]) for name, keys in self.tables.items() if "missing" in keys}
        found |= {k["event"]: list(k["event_missing"]) for k in self.tables.values() if "event_missing" in k}
        for group in self._groups():
            parts = [name for name, keys in self.tables.items() if keys.get("group") == group]
            if parts[0] in found and all(found.get(part) == found[parts[0]] for part in parts):
                found[group] = found[parts[0]]
                found = {name: values for name, values in found.items() if name not in parts}
        return found


def _likelihood(keys: Mapping[str, Any], roles: bool = True) -> str:
    """The keys of a modality as `--as` writes them."""
    given = ",".join(f"{key}={keys[key]}" for key in KEYS if key in keys and (roles or key != "role"))
    return f"{keys['likelihood']}{':' * bool(given)}{given}"


def read_schema(path: str | os.PathLike[str]) -> SchemaFile:
    """Read a schema file.

    Args:
        path: the path of the file.

    Returns:
        What it says. Arrays that it does not name are left out.

    Raises:
        DataError: it is no TOML, or a key or value in it is unknown.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "schema.toml"
        >>> file.write_text("[modality.crp]\\nlikelihood = 'laplace'\\nscale = 2\\n") > 0
        True
        >>> read_schema(file).options(target="crp")["as_"]["crp"]
        'laplace:scale=2'
    """
    path = Path(path)
    try:
        content = tomllib.loads(contents(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a schema file in TOML ({' '.join(str(error).split())}); correct it.") from None
    aside: dict[str, str] = {}
    for key, value in content.items():
        if key in LISTS:
            names = _names(path, key, value)
        elif key in NAMES:
            names = _names(path, key, [value])
        elif key == MODALITY:
            continue
        else:
            known = (*LISTS, *NAMES, MODALITY)
            raise DataError(f"{path}: no key {key!r}; there are {', '.join(known)}.{suggest(key, known)}")
        for name in names:
            if name in aside:
                raise DataError(f"{path}: {name!r} is named twice, as {aside[name]} and as {key}; name it once.")
            aside[name] = key
    tables = content.get(MODALITY, {})
    if not isinstance(tables, dict) or not tables or not all(isinstance(keys, dict) for keys in tables.values()):
        raise DataError(f"{path}: no modality; write tables [modality.NAME] with a likelihood each.")
    for name, keys in tables.items():
        _check_table(path, name, keys)
        if name in aside:
            raise DataError(f"{path}: {name!r} is a modality and {aside[name]}; name it once.")
    return SchemaFile(path, tables, aside)


def _check_table(path: Path, name: str, keys: Mapping[str, Any]) -> None:
    place, known = f"{path}: [modality.{name}]", ("likelihood", *OWN, *KEYS)
    for key, value in keys.items():
        if key not in known:
            raise DataError(f"{place}: no key {key!r}; there are {', '.join(known)}.{suggest(key, known)}")
        if key == "columns" and not _names(path, f"columns of {name}", value):
            raise DataError(f"{place}: it has no columns; name some, or take the table out.")
        if key in VALUES and not (isinstance(value, list) and all(type(v) in (str, int, float) for v in value)):
            raise DataError(f"{place}: {key} = {value!r} is no list of values; write [-9, 'unknown'].")
        if key == "group" and not (isinstance(value, str) and value and "columns" in keys):
            raise DataError(f"{place}: a part of a group needs its name and columns; write them, or take group out.")
        if key not in OWN and type(value) not in (str, int, float):
            raise DataError(f"{place}: {key} = {value!r} is neither text nor a number; correct it.")
    if "likelihood" not in keys:
        raise DataError(f"{place}: it has no likelihood; write likelihood = 'normal' or another.")
    if "event_missing" in keys and "event" not in keys:
        raise DataError(f"{place}: event_missing is of an event; name its array, event = 'NAME'.")
    if group := keys.get("group"):
        named = [
            f"{group}_{one}" for one in (keys["likelihood"], NUMBERS, *keys["columns"][: len(keys["columns"]) == 1])
        ]
        if name not in named:
            raise DataError(f"{place}: a part of the group {group!r} is called after it; call it {' or '.join(named)}.")
    try:
        parse_overrides({name: _likelihood(keys)})
    except UsageError as error:
        raise DataError(f"{place}: {str(error).removeprefix(f'--as {name}: ')}") from None


def _names(path: Path, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise DataError(f"{path}: {key} = {value!r} holds no names; write names in quotes.")
    if len(set(value)) < len(value):
        twice = next(name for name in value if value.count(name) > 1)
        raise DataError(f"{path}: {key} names {twice!r} twice; name it once.")
    return value


def write_schema(dataset: Dataset, path: str | os.PathLike[str]) -> None:
    """Write what was understood of data into a schema file, which `read_schema` reads.

    Args:
        dataset: the data, as read from their source.
        path: the file, which must not be there.

    Raises:
        DataError: the file is there already.

    Example:
        >>> import mmppl, numpy as np, tempfile
        >>> arrays = {"age": np.arange(30.0) ** 2, "label": np.arange(30) % 2}
        >>> file = Path(tempfile.mkdtemp()) / "schema.toml"
        >>> write_schema(mmppl.read(arrays), file)
        >>> again = mmppl.read(arrays, **read_schema(file).options())
        >>> again.fingerprint() == mmppl.read(arrays).fingerprint()
        True
    """
    if os.path.lexists(path):
        raise DataError(f"{path}: is there already; give another name, or move it.")
    try:
        write(Path(path), schema_text(dataset).encode("utf-8", "replace"))
    except MMPPLError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another path.") from None


def schema_text(dataset: Dataset) -> str:
    """Return the text of the schema file of data.

    Args:
        dataset: the data, as read from their source.

    Returns:
        TOML.
    """
    of = {how: [name for name, said in dataset.declared.items() if said == how] for how in (*LISTS, *NAMES)}
    of["ignore"] = [name for name in of["ignore"] if name != OTHERS]
    of[WORD] = [name for name in dataset.annotations if name != GROUP and not (name == TIME and of[TIME])]
    if GROUP in dataset.annotations and not of[GROUP]:
        of[GROUP] = [GROUP]
    lines = [
        f"# What was understood of {_line(dataset.name)}, {len(dataset):,} rows. Edit it, and give it back: --schema.",
        "# Columns that it does not name are left out.",
    ]
    lines += [f"{key} = {_toml(of[key])}" for key in LISTS if of[key]]
    lines += [f"{key} = {_toml(of[key][0])}" for key in NAMES if of[key]]
    for m in dataset.modalities:
        lines += ["", *(f"# {_line(f.text)}" for f in dataset.findings if f.name == m.name), *_table(m, dataset)]
    return "\n".join(lines) + "\n"


def _table(m: Modality, dataset: Dataset) -> list[str]:
    seen = float(dataset.observed[m.name].double().mean())
    about = f"in {seen:.1%} of the rows" + (f", {len(m.classes)} classes" if m.classes else "")
    keys: dict[str, Any] = {"columns": list(m.features) if m.features else None, "group": m.group}
    keys |= {"likelihood": m.likelihood, "scale": m.scale, "role": m.role, "transform": m.transform, "event": m.event}
    keys |= {key: getattr(m, key) for key in m.family.fixable}
    if m.family.values == "counts":
        keys["size"] = "none" if m.size_factor is None else "total"
    if m.family.kind == "ranks":
        keys["order"] = _order(m)
    keys |= {key: None if (values := getattr(m, key)) is None else list(values) for key in VALUES}
    lines = [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
    key = m.name if BARE.fullmatch(m.name) else _toml(m.name)
    return [f"[{MODALITY}.{key}]  # {about}", *lines]


def _order(m: Modality) -> str | None:
    """The classes from the lowest on as `order` writes them; None where a class has all signs that part them."""
    classes = [str(one) for one in m.classes or ()]
    if not any("<" in one for one in classes) and len(classes) > 1:
        return "<".join(classes) if any("/" in one for one in classes) else "/".join(classes)
    return None


def _toml(value: Any) -> str:
    """A text, number or list as TOML, whose texts are written as those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """A text as it may stand in a comment: without ends of lines and control characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
