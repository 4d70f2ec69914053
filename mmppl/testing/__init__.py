"""Laws that every program obeys, checked on your own program: `check_program(MyProgram)` in a test; and a world in
which posterior and evidence have a closed form. Nothing in the library imports this package.
"""

from .check import check_program
from .laws import BrokenLaw
from .linear_gaussian import World, exact

__all__ = ["BrokenLaw", "World", "check_program", "exact"]
