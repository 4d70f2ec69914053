"""README agrees with the command line."""

import re
from pathlib import Path

import pytest
import typer.main

from mmppl.cli.main import app

README = (Path(__file__).parents[2] / "README.md").read_text()
TABLE = README.partition("\n## Options\n")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TABLE, re.MULTILINE))


def named(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def options():
    """Name of the command → its options."""
    root = typer.main.get_command(app)
    commands = {"mmppl": root, **root.commands}
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
        for name, command in commands.items()
    }


def test_the_table_has_every_command():
    assert list(ROWS) == list(options())


@pytest.mark.parametrize("command", options())
def test_every_option_is_named(command):
    """In the command's row, or in an example outside the table."""
    own = options()[command]
    in_row = named(ROWS[command])
    assert in_row <= own
    assert own <= in_row | named(README.replace(TABLE, ""))


def test_every_exit_code_is_named():
    from mmppl.cli.main import main

    codes = set(re.findall(r"\d+", main.__doc__.partition("\n\n")[2])) - {"0"}
    assert codes == set(re.findall(r"\d+", README.partition("Exit codes: ")[2].partition(".")[0]))
