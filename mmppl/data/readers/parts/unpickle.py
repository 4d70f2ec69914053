"""Pickles read without executing anything: an interpreter of the opcodes that plain data need, and no others.

Python's own module imports what a pickle names and calls it. Here names are compared with a short list, and what they
stand for (NumPy arrays and scalars, sets, byte strings, ordered dicts) is built from the bytes by this file itself.
Sizes are believed only as far as there are bytes.

Source: the opcodes are those of Python's module `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ....base.text import printable
from ....errors import DataError
from .files import contents

KINDS = "biufcSUO"
DEEPEST = 50  # containers within each other
OBJECTS = 100_000_000  # opcodes; each makes at most one object
_CORES = ("numpy.core", "numpy._core")  # before and since NumPy 2
ADMITTED = {
    **{(f"{core}.multiarray", "_reconstruct"): "array" for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): "buffer" for core in _CORES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("collections", "OrderedDict"): "dict",
    **{(module, name): name for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "bytes")},
}
MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
OLD_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}


class _Refused(Exception):
    """What a pickle asks for and does not get."""


class OldString(str):
    """A byte string of Python 2, one character for each byte: text, or the bytes of an array."""

    @property
    def text(self) -> str:
        """The text that it is in UTF-8, or else in Latin-1."""
        try:
            return self.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return str(self)


@dataclass
class _Name:
    """One of the names that are admitted."""

    kind: str


@dataclass
class _Type:
    """A NumPy type, whose byte order comes later."""

    found: np.dtype


@dataclass(eq=False)
class _Array:
    """A NumPy array, whose contents come later."""

    value: np.ndarray | None = None


def read_pickle(path: Path) -> Any:
    """Read the plain data of a pickle; nothing in it is executed.

    Admitted are None, numbers, strings, byte strings, lists, tuples, dicts, sets, and NumPy arrays and scalars of
    numbers, strings or the same objects, as Python 2 and 3 and NumPy 1 and 2 write them.

    Args:
        path: the path of the file.

    Returns:
        The data. An array of objects is a list of its elements (of more than one dimension, of lists), and byte strings
        of Python 2 are text, in UTF-8 where they can be and else in Latin-1.

    Raises:
        DataError: the file is no whole pickle, or holds anything else; the message names it.
    """
    data = contents(path)
    try:
        return _finished(_interpreted(data), {}, 0)
    except _Refused as error:
        raise DataError(
            f"{path}: the pickle asks for {printable(str(error))}, which is not executed; only arrays, numbers, "
            "strings, lists, tuples, dicts and sets are converted."
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, SyntaxError) as error:
        said = printable(str(error)[:80])
        raise DataError(f"{path}: not a whole pickle of plain data ({said}); fetch it again.") from None


def _interpreted(data: bytes) -> Any:
    """Run the opcodes, and return what is left on the stack."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        found = stack[at + 1 :]
        del stack[at:]
        return found

    arg: Any
    for number, (opcode, arg, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if number > OBJECTS:
            raise ValueError("too many objects")
        if name in VALUES:
            stack.append(bytes(arg) if isinstance(arg, bytearray) else arg)
        elif name in OLD_STRINGS:
            stack.append(OldString(arg))
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if arg is None else arg] = _thing(stack[-1])
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name == "APPEND":
            value = stack.pop()
            _of(list, stack[-1]).append(_thing(value))
        elif name in ("APPENDS", "ADDITEMS"):
            values = marked()
            _of(list, stack[-1]).extend(values) if name == "APPENDS" else _of(set, stack[-1]).update(map(_key, values))
        elif name in ("LIST", "TUPLE", "FROZENSET"):
            values = marked()
            stack.append(values if name == "LIST" else tuple(values) if name == "TUPLE" else set(map(_key, values)))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            if len(stack) < size:
                raise IndexError("an empty stack")
            stack[-size:] = [tuple(_thing(value) for value in stack[-size:])]
        elif name == "DICT":
            stack.append(_paired(marked()))
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _of(dict, stack[-1])[_key(key)] = _thing(value)
        elif name == "SETITEMS":
            values = marked()
            _of(dict, stack[-1]).update(_paired(values))
        elif name in ("POP", "POP_MARK"):
            marked() if name == "POP_MARK" else stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "GLOBAL":
            stack.append(_named(*arg.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            stack.append(_named(module, last))
        elif name in ("REDUCE", "NEWOBJ"):
            args, what = stack.pop(), stack.pop()
            stack.append(_made(what, _of(tuple, args)))
        elif name == "BUILD":
            state = stack.pop()
            _set(stack[-1], state)
        elif name == "STOP":
            break
        elif name not in ("PROTO", "FRAME"):
            raise _Refused(f"the opcode {name}")
    (result,) = stack
    return _thing(result)


def _thing(value: Any) -> Any:
    if value is MARK:
        raise ValueError("a mark where a value is due")
    return value


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} is due")
    return value


def _key(value: Any) -> Hashable:
    if isinstance(value, (str, bytes, int, float)) or value is None:  # the hash of nested tuples may take for ever
        return value
    raise ValueError(f"a {type(value).__name__} as a key, or in a set")


def _paired(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return {_key(key): value for key, value in zip(values[::2], values[1::2])}


def _named(module: Any, name: Any) -> _Name:
    if (module, name) not in ADMITTED:
        raise _Refused(f"{module}.{name}"[:100])
    return _Name(ADMITTED[module, name])


def _made(what: Any, args: tuple[Any, ...]) -> Any:
    """Make what NumPy or Python would have made of these arguments."""
    kind = what.kind if isinstance(what, _Name) else _no_call(f"a {type(what).__name__}")
    if kind == "array":
        return _Array()
    if kind == "dtype":
        return _Type(_checked(_plain(args[0])))
    if kind == "scalar":
        return _filled((), _of(_Type, args[0]).found, False, args[1])[()]
    if kind == "buffer":
        return _filled(args[2], _of(_Type, args[1]).found, args[3] == "F", args[0])
    if kind == "encode":
        if len(args) != 2 or not isinstance(args[0], str) or _plain(args[1]) not in ("latin1", "latin-1"):
            raise _Refused("_codecs.encode, of something else than Latin-1")
        return args[0].encode("latin-1")
    if kind == "bytes" and not args:
        return b""
    if kind in ("set", "frozenset", "dict") and len(args) <= 1:
        items = _of(list, args[0]) if args else []
        if kind == "dict":
            return {_key(key): value for key, value in items}
        return {_key(item) for item in items}
    _no_call(f"{kind} with {len(args)} arguments")


def _no_call(what: str) -> NoReturn:
    raise _Refused(f"a call of {what}")


def _set(thing: Any, state: Any) -> None:
    """Give an array or type its state."""
    if isinstance(thing, _Type):
        order = _plain(state[1])
        if order in ("<", ">"):
            thing.found = thing.found.newbyteorder(order)
        if len(state) > 3 and any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        if thing.found.kind in "SU" and not thing.found.itemsize and isinstance(state[5], int):
            thing.found = np.dtype(f"{thing.found.kind}{state[5] // (4 if thing.found.kind == 'U' else 1)}")
    elif isinstance(thing, _Array) and thing.value is None:
        _, shape, kind, fortran, raw = state
        thing.value = _filled(shape, _of(_Type, kind).found, bool(fortran), raw)
    else:
        raise _Refused(f"the state of a {type(thing).__name__.strip('_').lower()}")


def _checked(text: Any) -> np.dtype:
    if not isinstance(text, str) or len(text) > 20 or text.lstrip("<>|=")[:1] not in KINDS + "?":
        raise _Refused(f"an array of the type {text!r:.40}")
    found = np.dtype(text)
    if found.kind not in KINDS:
        raise _Refused(f"an array of the type {text!r}")
    return found


def _filled(shape: Any, kind: np.dtype, fortran: bool, raw: Any) -> np.ndarray:
    """An array of so many bytes, or of a list of objects, as its shape says."""
    if type(shape) is not tuple or any(type(size) is not int or size < 0 for size in shape) or len(shape) > 32:
        raise ValueError(f"a shape {shape!r:.40}")
    number = math.prod(shape)
    if kind.kind == "O":
        if type(raw) is not list or len(raw) != number:
            raise ValueError(f"an array of {number:,} objects without them")
        array = np.empty(number, object)
        array[:] = raw if number != 1 else [None]
        if number == 1:
            array[0] = raw[0]
        return array.reshape(shape, order="F" if fortran else "C")
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes) or number * kind.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape!r:.40} in {len(raw):,} bytes")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


def _plain(text: Any) -> Any:
    return text.text if isinstance(text, OldString) else text


def _finished(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """Replace what came later by what it became. What occurs twice is converted once and shared."""
    if depth > DEEPEST:
        raise ValueError("containers within each other without an end")
    if isinstance(value, OldString):
        return value.text
    if isinstance(value, (_Name, _Type)):
        raise _Refused("a function or type as a value")
    if isinstance(value, _Array):
        value = value.value
        if value is None:
            raise ValueError("an array without contents")
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = seen.setdefault(-id(value), value.tolist())
    if not isinstance(value, (list, tuple, dict, set)):
        return value
    if id(value) not in seen:
        if isinstance(value, dict):
            found: Any = {_plain(key): _finished(inner, seen, depth + 1) for key, inner in value.items()}
        else:
            found = type(value)(_finished(inner, seen, depth + 1) for inner in value)
        seen[id(value)] = found
    return seen[id(value)]
