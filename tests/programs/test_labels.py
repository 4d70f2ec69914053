"""Labels of every kind obey the laws in every program: ordered classes, tags, survival times, numbers."""

import pytest

from mmppl import load_program
from mmppl.testing import check_program
from mmppl.testing.samples import small_labels

SLOW = (
    "factors",
    "cmmd",
    "jmvae",
    "mmvae",
    "mopoe",
    "mwvae",
    "fmwvae",
    "dae",
    "ima",
    "mmjsd",
    "mvtcae",
    "vcca",
    "dcca",
)


@pytest.mark.parametrize("program", ["mvae", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_law_holds(program):
    first = {"cmmd": "observed", "vcca": "views"}  # by default the first view
    options = {first[program]: ("gene",)} if program in first else {}
    assert len(check_program(load_program(program), data=small_labels(), **options)) >= 6
