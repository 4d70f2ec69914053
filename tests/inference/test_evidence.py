"""When an importance estimate is trusted, and what is told where it is not."""

import dataclasses

import numpy as np
import pytest
import torch
from reference.linear_gaussian import World, exact_mvae

from mmppl.inference.query import ask


def scale_decoder(program, name, by):
    """Multiply the weights of an affine decoder."""
    with torch.no_grad():
        next(p for p in program.decoders[name].parameters() if p.ndim == 2).mul_(by)


@pytest.mark.parametrize("sizes, latent", [({"a": 4, "b": 3, "c": 5}, 2), ({"a": 100, "b": 50, "c": 784}, 10)])
def test_an_exact_guide_is_trusted_in_float32(sizes, latent, request):
    """Its log-weights differ by rounding alone, of which a fitted tail flags up to 70 % of the rows."""
    request.getfixturevalue("float64")
    world = World.make(sizes, latent, orthogonal=True)
    program, data = exact_mvae(world), world.sample(40)
    torch.set_default_dtype(torch.float32)
    program.float()
    data = dataclasses.replace(data, values={name: x.float() for name, x in data.values.items()})
    for want, given in (["evidence"], ["a", "b", "c"]), (["evidence", "c"], ["a", "b"]):
        found = ask(program, data, want=want, given=given, draws=1000)["evidence"]
        assert (found["khat"] == 0).all() and (found["ess"] > 999).all() and (found["se"] < 1e-4).all()
    scale_decoder(program, "c", 1.01)
    off = ask(program, data, want=["evidence"], given=["a", "b", "c"], draws=1000)["evidence"]
    assert (off["khat"] != 0).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("want", [["evidence"], ["evidence", "b"]], ids=["of what is given", "conditional"])
def test_no_error_is_told_where_the_guide_is_too_far_off(want):
    world = World.make({"a": 3, "b": 2}, 2, orthogonal=True)
    data, program = world.sample(50), exact_mvae(world)
    scale_decoder(program, "a", 0.2)  # the posterior is wider than the guide, and elsewhere
    answer = ask(program, data, want=want, given=["a"], draws=200)
    found = answer["evidence"]
    far = found["khat"] > 0.7
    assert 5 < far.sum() < 50 and np.array_equal(np.isnan(found["se"]), far) and np.isfinite(found["nats"]).all()
    lines = [line for line in answer.table(50).splitlines() if "evidence" in line]
    assert ["nats distrusted (ESS" in line for line in lines] == far.tolist() == ["±" not in line for line in lines]
    assert f"{far.sum()} of 50 rows have k̂ above 0.7" in answer.warnings[-1]
