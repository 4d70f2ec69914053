"""Errors of the user's making. Each carries the exit code that the command line returns for it."""


class MMPPLError(Exception):
    """Something that a user can mend; the message is one line: what is wrong, where, what to do."""

    exit_code = 1


class FitError(MMPPLError):
    """A fit that cannot go on although its input was fine (a loss that is not finite, a full disk)."""


class UsageError(MMPPLError):
    """A wrong option, name, value, preset, subset or program file."""

    exit_code = 2


class UntrustedError(MMPPLError):
    """A run whose program would have to be executed and is not known to be the user's own."""

    exit_code = 3


class LockedError(MMPPLError):
    """A run folder that another fit is writing."""

    exit_code = 4


class DataError(MMPPLError):
    """A data or run file that is missing, truncated, corrupt or inconsistent."""

    exit_code = 5


def suggest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """' Did you mean X?' for the nearest known name, or '' when none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
