"""The installed programs in the world with a closed-form answer."""

from typing import Any

from mmppl import Program, load_program
from mmppl.testing.linear_gaussian import World, batch_of, exact

__all__ = ["World", "batch_of", "exact_mvae"]


def exact_mvae(world: World, program: str = "mvae", **hyper: Any) -> Program:
    """The installed MVAE, or another program of its build, by name."""
    return exact(load_program(program), world, **hyper)
