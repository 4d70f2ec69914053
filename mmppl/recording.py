"""A recorded step, tidied: whatever costs a call and changes no bit is taken out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten
RESHAPES = {aten.detach.default, aten.expand.default, aten.view.default, aten.slice.Tensor, aten.squeeze.dim}
STILL_TRUE = {  # of masks that are True throughout
    *RESHAPES, aten.unsqueeze.default, aten.select.int, aten.stack.default, aten.cat.default,
    aten.bitwise_and.Tensor, aten.logical_and.default, aten.all.dim, aten.all.default, aten.any.dim, aten.any.default,
}  # fmt: skip


def tidied(recorded: GraphModule, whole: Sequence[int] = ()) -> GraphModule:
    """A copy that computes the same bits with fewer calls: equal calls happen once, views that change nothing do not.

    Args:
        whole: positions among the inputs of masks that are True throughout; what they choose between is then not asked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about how it copies
        graph = copy.deepcopy(recorded.graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    true = {inputs[position] for position in whole}
    written = {_base(a) for node in graph.nodes if _writes(node) for a in node.all_input_nodes}
    results = set(
        graph.output_node().all_input_nodes
    )  # each keeps a memory of its own: gradients may be clipped in place
    first: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr") or _writes(node) or node in results:
            continue
        if any(_base(n) in written for n in (node, *node.all_input_nodes)):
            continue  # something writes into this memory: its value depends on the moment
        twin = _unchanged(node, true)
        if twin is None and torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
            twin = first.setdefault((node.target, str(node.args), str(node.kwargs)), node)
        if twin is not None and twin is not node:
            node.replace_all_uses_with(twin)
            graph.erase_node(node)
        elif node.target in STILL_TRUE and node.all_input_nodes and true.issuperset(node.all_input_nodes):
            true.add(node)
    graph.eliminate_dead_code()  # keeps what draws random numbers
    return GraphModule(recorded, graph)  # shares the parameters and constants


def _unchanged(node: Node, true: set[Node]) -> Node | None:
    """The input that `node` hands on as it is, or None."""
    chosen: Any = None
    if node.target in RESHAPES:
        chosen = node.args[0]
    elif node.target is aten.cat.default and len(node.args[0]) == 1:  # type: ignore[arg-type]
        chosen = node.args[0][0]  # type: ignore[index]
    elif node.target is aten.where.self and node.args[0] in true:
        chosen = node.args[1]
    return chosen if _kind(chosen) is not None and _kind(chosen) == _kind(node) else None


def _kind(node: Any) -> Any:
    """Shape, dtype and strides of the tensor that a node gives, or None."""
    meta: Any = node.meta.get("tensor_meta") if isinstance(node, Node) else None
    return (meta.shape, meta.dtype, meta.stride) if hasattr(meta, "stride") else None


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _base(node: Node) -> Node:
    """The node whose memory a view shows."""
    while node.op == "call_function" and node.all_input_nodes:
        schema = getattr(node.target, "_schema", None)
        aliases = schema is None or any(r.alias_info is not None for r in schema.returns)  # no schema: getitem
        if not aliases:
            break
        node = node.all_input_nodes[0]
    return node
