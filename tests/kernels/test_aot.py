"""Every configuration of every Triton kernel compiles for an A100 and an H100, and keeps to the registers; in a short
run, every twelfth for an H100."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REGISTERS = 128  # leaves room for 16 warps on a multiprocessor with its 65536


@pytest.mark.parametrize(
    ("capability", "every"), [(90, 12), *(pytest.param(one, 1, marks=pytest.mark.slow) for one in (80, 90))]
)
def test_no_kernel_spills(capability, every):
    pytest.importorskip("triton")
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("aot.py")
    done = subprocess.run(
        [sys.executable, str(script), str(capability), str(every)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["capability"] for one in found} == {capability}
    wrong = [one for one in found if one["spilled"] or one["registers"] > REGISTERS]
    assert not wrong, "\n".join(map(str, wrong))
