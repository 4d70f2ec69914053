"""The command line: one file per command; `main` turns every error into one line and an exit code."""

from .main import main as main

__all__ = ["main"]
