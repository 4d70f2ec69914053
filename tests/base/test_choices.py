"""Words that settings may be."""

import pytest

from mmppl import UsageError
from mmppl.base.choices import choice


def test_choice():
    assert choice("--device", "cpu", ("auto", "cpu")) == "cpu"
    with pytest.raises(UsageError, match="--device cup: choose from auto, cpu. Did you mean cpu?"):
        choice("--device", "cup", ("auto", "cpu"))
