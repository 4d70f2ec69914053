"""A program's model and guide in the form that Pyro's own tools take: modules that hold the program's parameters.

Pyro learns which parameters to move from `pyro.param` statements or from `module.parameters()`. A bound method has
neither, so that `SVI` and `Trace_ELBO()(p.model, p.guide)` would train nothing, and would not say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyro
from pyro.params.param_store import param_with_module_name
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.trace_messenger import TraceMessenger
from torch import nn

if TYPE_CHECKING:
    from .program import Program


class BoundMethod(nn.Module):
    """A method of a program together with the program, called like the method.

    Inside a step of `pyro.infer.SVI` it registers the program's parameters with Pyro; otherwise it leaves Pyro's
    parameter store alone.

    Args:
        program: the program.
        method: the function that its class defines.
    """

    def __init__(self, program: Program, method: Callable[..., Any]) -> None:
        super().__init__()
        self.program, self.method = program, method

    def forward(self, *args: Any, **words: Any) -> Any:
        """Return what the method returns."""
        if asked_for_parameters():
            register_parameters(self.program)
        return self.method(self.program, *args, **words)


class PyroMethod:
    """A descriptor for a program's method: on an instance it gives a `BoundMethod`, on the class the function.

    Args:
        method: the function.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    def __get__(self, program: Program | None, owner: type[Program] | None = None) -> Any:
        return self.method if program is None else BoundMethod(program, self.method)


def asked_for_parameters() -> bool:
    """Whether a handler is active that records only parameters, as `SVI.step` has around its loss."""
    return any(isinstance(handler, TraceMessenger) and handler.param_only for handler in _PYRO_STACK)


def register_parameters(program: Program) -> None:
    """Put the parameters of a program into Pyro's store as `CLASS$$$PARAMETER`, so that Pyro's optimisers move the
    program.

    The store holds the tensors themselves. They replace those of another program of the same class. Tensors that stand
    in for them in `torch.func.functional_call` are left alone.

    Args:
        program: the program.
    """
    store = pyro.get_param_store()
    for name, parameter in program.named_parameters():
        if not parameter.requires_grad or not isinstance(parameter, nn.Parameter):
            continue
        full = param_with_module_name(type(program).__name__, name)
        if not parameter.is_contiguous():  # the store would copy it, and the optimiser would move the copy
            parameter.data = parameter.data.contiguous()
        if full in store and store[full] is not parameter:
            del store[full]
        pyro.param(full, parameter)
