"""Laws that every program obeys, checked on yours: `check_program(MyProgram)` in a test; and a world in which posterior
and evidence have a closed form. On top of the library, which imports nothing of it."""

from .check import check_program
from .laws import BrokenLaw
from .linear_gaussian import World, exact

__all__ = ["BrokenLaw", "World", "check_program", "exact"]
