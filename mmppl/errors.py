"""Errors that a user can mend. Each class carries the exit code that the command line returns for it."""


class MMPPLError(Exception):
    """An error that a user can mend. Its message is one line that says what is wrong, where, and what to do.

    Attributes:
        exit_code: the code with which the command line ends.

    Example:
        >>> try:
        ...     raise DataError("rows.npz: it is truncated. Restore it.")
        ... except MMPPLError as error:
        ...     print(error.exit_code, error)
        5 rows.npz: it is truncated. Restore it.
    """

    exit_code = 1


class FitError(MMPPLError):
    """A fit cannot go on although its input was fine, for example because the loss is not finite or the disk is full.

    Example:
        >>> FitError("epoch 3: the term nll.image is not finite; lower --lr.").exit_code
        1
    """


class UsageError(MMPPLError):
    """An option, name, value, preset, subset or program file is wrong.

    Example:
        >>> UsageError("no program 'mave'. Did you mean mvae?").exit_code
        2
    """

    exit_code = 2


class UntrustedError(MMPPLError):
    """Answering would execute the program of a run, and that program is not known to be the user's own.

    Example:
        >>> UntrustedError("runs/a: its program is unknown; pass --program FILE.").exit_code
        3
    """

    exit_code = 3


class LockedError(MMPPLError):
    """Another fit is writing to the run folder.

    Example:
        >>> LockedError("runs/a: another fit is writing to it; choose another --out.").exit_code
        4
    """

    exit_code = 4


class DataError(MMPPLError):
    """A data file or run file is missing, truncated, corrupt or inconsistent.

    Example:
        >>> DataError("rows.npz: no such file. Check the path.").exit_code
        5
    """

    exit_code = 5


def suggest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Suggest the known name that is nearest to a misspelt one.

    Args:
        name: the name that was not found.
        known: the names that exist.

    Returns:
        " Did you mean X?", or an empty text when no known name is near.

    Example:
        >>> suggest("mopo", ["mvae", "mopoe"])
        ' Did you mean mopoe?'
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
