"""A recorded step, tidied: whatever costs a call and changes no bit is taken out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ..base.quiet import without_warnings

aten = torch.ops.aten
RESHAPES = {aten.detach.default, aten.expand.default, aten.view.default, aten.slice.Tensor, aten.squeeze.dim}


def simplify(recorded: GraphModule, whole: Sequence[int] = ()) -> GraphModule:
    """A copy that computes the same bits with fewer calls: what is the same in every step is computed now, equal calls
    happen once, views that change nothing do not.

    Args:
        whole: positions among the inputs of masks that are True throughout; what they choose between is then not asked.
    """
    with without_warnings(FutureWarning):  # torch's own, about how it copies
        graph = copy.deepcopy(recorded.graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    known: dict[Node, Any] = {
        node: torch.ones(_kind(node)[0], dtype=torch.bool) for node in map(inputs.__getitem__, whole)
    }
    written = {_base(a) for node in graph.nodes if _writes(node) for a in node.all_input_nodes}
    theirs = {_base(node) for node in graph.output_node().all_input_nodes}  # results may be changed in place by who
    # gets them: none shares its memory with what it did not share it with, or keeps it for the next step
    first: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr") or _writes(node):
            continue
        if any(_base(n) in written for n in (node, *node.all_input_nodes)):
            continue  # something writes into this memory: its value depends on the moment
        reference, kept = _same_memory(node), _base(node) in theirs
        if reference is None and not kept:
            reference = _chosen(node, known)
            if reference is None and not _random(node):
                reference = first.setdefault((node.target, str(node.args), str(node.kwargs)), node)
        if reference is not None and reference is not node:
            node.replace_all_uses_with(reference)
            graph.erase_node(node)
        elif not kept and _settled(node, known):
            arguments = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*arguments[0], **arguments[1])
    better = GraphModule(recorded, graph)  # shares the parameters
    for number, (node, value) in enumerate(known.items()):
        if node.op == "call_function" and isinstance(value, Tensor) and not known.keys() >= node.users.keys():
            better.register_buffer(f"_known{number}", value)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(f"_known{number}"))
    graph.eliminate_dead_code()  # keeps what draws random numbers
    better.recompile()
    return better


def _settled(node: Node, known: dict[Node, Any]) -> bool:
    """Its value is the same in every step."""
    return node.op == "call_function" and known.keys() >= set(node.all_input_nodes) and not _random(node)


def _random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _same_memory(node: Node) -> Node | None:
    """The input of a view that shows it as it is, or None."""
    if node.target is aten.t.default and node.args[0].target is aten.t.default:  # type: ignore[union-attr]
        return node.args[0].args[0]  # type: ignore[union-attr, return-value]
    return _alike(node.args[0], node) if node.target in RESHAPES else None


def _chosen(node: Node, known: dict[Node, Any]) -> Node | None:
    """The one input of which `node` is a copy, or None."""
    if node.target is aten.cat.default and len(node.args[0]) == 1:  # type: ignore[arg-type]
        return _alike(node.args[0][0], node)  # type: ignore[index]
    if node.target is aten.where.self and node.args[0] in known:
        mask = known[node.args[0]]  # type: ignore[index]
        return _alike(node.args[1] if mask.all() else None if mask.any() else node.args[2], node)
    return None


def _alike(one: Any, node: Node) -> Node | None:
    """`one`, if it has the shape, dtype and strides of `node`."""
    return one if _kind(one) is not None and _kind(one) == _kind(node) else None


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
