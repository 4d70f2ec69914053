"""The errors that a user can cause. Each class carries the exit code that the command line returns for it."""

DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # that reorder the text around them


class MMPPLError(Exception):
    """The base of all errors that a user can fix. Its message is one line: what is wrong, where, and what to do.

    Attributes:
        exit_code: the exit code of the command line.

    Example:
        >>> import mmppl
        >>> try:
        ...     mmppl.read("digits-twoview")
        ... except mmppl.MMPPLError as error:
        ...     print(error.exit_code)
        2
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(escaped(message))


class FitError(MMPPLError):
    """A fit cannot go on although its input was fine, for example because the loss is not finite or the disk is full.

    Example:
        >>> import mmppl
        >>> mmppl.FitError("the loss is not finite; take a smaller --lr.").exit_code
        1
    """


class UsageError(MMPPLError):
    """An option, name, value, preset, subset or program file is wrong.

    Example:
        >>> import mmppl
        >>> try:
        ...     mmppl.read("digits-three:seed=one")
        ... except mmppl.UsageError as error:
        ...     print(error)
        digits-three: seed='one' is not a whole number.
    """

    exit_code = 2


class UntrustedError(MMPPLError):
    """Opening a run would execute a program file that is not known to be the user's own.

    Example:
        >>> import mmppl
        >>> mmppl.UntrustedError("runs/x: its program is not an installed one.").exit_code
        3
    """

    exit_code = 3


class LockedError(MMPPLError):
    """Another fit is writing to the run folder.

    Example:
        >>> import mmppl
        >>> mmppl.LockedError("runs/x: another fit is writing to it.").exit_code
        4
    """

    exit_code = 4


class DataError(MMPPLError):
    """A data file or run file is missing, truncated, corrupt or inconsistent.

    Example:
        >>> import mmppl
        >>> try:
        ...     mmppl.read({"age": [30.0, 40.0], "height": [1.7]})
        ... except mmppl.DataError as error:
        ...     print(str(error).partition(";")[0])
        arrays differ in length (age 2, height 1)
    """

    exit_code = 5


def escaped(text: str) -> str:
    """Write the signs that a terminal obeys instead of showing them as escapes: control characters, ends of lines,
    changes of direction, and halves of signs that cannot be encoded.

    Args:
        text: any text, such as a name from a file of somebody else.

    Returns:
        One line.

    Example:
        >>> from mmppl.errors import escaped
        >>> print(escaped("two\\nlines"))
        two\\nlines
    """
    if text.isprintable():
        return text
    return "".join(repr(sign)[1:-1] if obeyed(sign) else sign for sign in text)


def obeyed(text: str) -> bool:
    """Say whether a text has a sign that `escaped` escapes."""
    import unicodedata

    return not text.isprintable() and any(
        unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in DIRECTIONS
        for sign in text
    )


def suggest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Suggest the known name that is nearest to a misspelt one, for the end of an error message.

    Args:
        name: the name that was given.
        known: the names that would have been accepted.

    Returns:
        " Did you mean X?", or "" where no known name is near.

    Example:
        >>> import mmppl
        >>> mmppl.suggest("nosy", ["noisy", "rotated"])
        ' Did you mean noisy?'
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
