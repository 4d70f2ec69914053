"""A tidied recording as a plain Python function, whose calls cost as little as hand-written ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

from ..base.quiet import without_warnings

aten = torch.ops.aten
# An operator called by its overload is looked up and its arguments are checked in Python, which takes twice the time of
# the same call by PyTorch's own function. These take their arguments in the same order.
FUNCTIONS: dict[Any, Any] = {
    aten.add.Tensor: torch.add,
    aten.addmm.default: torch.addmm,
    aten.cat.default: torch.cat,
    aten.div.Tensor: torch.div,
    aten.exp.default: torch.exp,
    aten.log.default: torch.log,
    aten.mm.default: torch.mm,
    aten.mul.Tensor: torch.mul,
    aten.neg.default: torch.neg,
    aten.pow.Tensor_Scalar: torch.pow,
    aten.relu.default: torch.relu,
    aten.rsqrt.default: torch.rsqrt,
    aten.select.int: torch.select,
    aten.sigmoid.default: torch.sigmoid,
    aten.stack.default: torch.stack,
    aten.sub.Tensor: torch.sub,
    aten.sum.default: torch.sum,
    aten.sum.dim_IntList: torch.sum,
    aten.t.default: torch.t,
    aten.unsqueeze.default: torch.unsqueeze,
    aten.where.self: torch.where,
}
METHODS: dict[Any, str] = {aten.expand.default: "expand", aten.view.default: "view"}


def plain_function(recorded: GraphModule) -> Callable[..., list[Tensor | None]]:
    """What a recording computes, as a function of flat inputs that returns the flat list of its outputs.

    The parameters and constants of the recording are bound: they may change in place, and may not be replaced.
    """
    with without_warnings(FutureWarning):  # torch's own, about how it copies
        graph = copy.deepcopy(recorded.graph)
    for node in graph.nodes:
        if node.op == "call_function" and node.target in FUNCTIONS:
            node.target = FUNCTIONS[node.target]
        elif node.op == "call_function" and node.target in METHODS:
            node.op, node.target = "call_method", METHODS[node.target]
    graph.set_codegen(CodeGen())  # inputs and outputs stay flat
    made = GraphModule(recorded, graph)
    names = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    bound = SimpleNamespace(**{name: getattr(made, name) for name in names})
    return partial(type(made).forward, bound)
