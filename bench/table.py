"""The table of `mmppl bench`: which cases there are, and what its rows hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from . import likelihood, pairs, product, step
from .case import Case, Row, measure
from .harness import circumstances
from .steps import dependence, ima, mopoe, mwvae, vcca

GROUPS = ("product", "pairs", "likelihood", "step")


def cases(groups: tuple[str, ...] = GROUPS, device: str = "cpu") -> Iterator[Case]:
    """Go through the cases of some groups, which are made one at a time.

    Args:
        groups: names in `GROUPS`.
        device: "cpu" or "cuda".

    Yields:
        The cases.
    """
    if "product" in groups:
        yield from (product.case(shape, device) for shape in product.SHAPES)
    if "pairs" in groups:
        yield pairs.case(2048, 20, 5, device=device)
    if "likelihood" in groups:
        yield from likelihood.cases(device)
    if "step" in groups:
        yield step.case(256, "fp32", device)
        yield step.case(256, "bf16", device)
        yield step.case(4, "fp32", device)
    if "step" in groups and device == "cpu":
        yield from (step.with_holes(rate) for rate in (0.3, 0.6))
        yield from (dependence.case(on) for on in ("z", "experts"))
        yield from (dependence.fusion_case(*each) for each in (*dependence.FUSED, *dependence.UNIMODAL))
        yield mopoe.case()
        yield from (mwvae.case(name) for name in ("mwvae", "fmwvae"))
        yield from (vcca.case(private) for private in (0, vcca.PRIVATE))
        yield from (ima.case(stage) for stage in ima.STAGES)


def table(
    groups: tuple[str, ...] = GROUPS,
    *,
    device: str = "cpu",
    threads: int = 1,
    rounds: int = 7,
    seconds: float = 0.25,
    logged: Callable[[Row], None] = lambda row: None,
) -> dict[str, object]:
    """Measure the cases of some groups.

    Args:
        groups: names in `GROUPS`.
        device: "cpu" or "cuda".
        threads: the number of PyTorch's threads, which is restored afterwards.
        rounds: see `interleave`.
        seconds: see `interleave`.
        logged: receives each row as it is made.

    Returns:
        {"device", "versions", ..., "rows"}, rows in the order of `cases`.

    Raises:
        WrongResult: a correctness check fails.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = []
        for case in cases(groups, device):
            for row in measure(case, rounds=rounds, seconds=seconds):
                logged(row)
                rows.append(row._asdict())
        return {**circumstances(device), "rounds": rounds, "rows": rows}
    finally:
        torch.set_num_threads(before)
