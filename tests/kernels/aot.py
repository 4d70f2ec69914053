"""Compiles every configuration of the Triton kernels for GPUs that need not be here; prints what each needs, as JSON.

`python tests/kernels/aot.py [MODULE ...]`, in a process without TRITON_INTERPRET. A module `kernels/NAME_triton.py`
takes part by its function `aot()`: (kernel, signature, constexprs, options) of every configuration that its launch
table can choose, as `triton.compiler.ASTSource` and `triton.compile` take them.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas, sm_arch_from_capability
from triton.compiler import ASTSource

KERNELS = Path(__file__).parents[2] / "kernels"
CAPABILITIES = (80, 90)


def modules() -> list[str]:
    """Names of the kernel modules that list their configurations."""
    return sorted(f.stem for f in KERNELS.glob("*_triton.py") if re.search(r"^def aot\(", f.read_text(), re.MULTILINE))


def needs(kernel: Any, signature: dict[str, str], constexprs: dict[str, Any], options: dict[str, int]) -> Iterator[Any]:
    """Registers per thread, bytes spilled and bytes of shared memory, for each capability."""
    # as at a launch: PyTorch's memory begins at multiples of 16 bytes, which lets the compiler load vectors
    aligned = {(i,): [["tt.divisibility", 16]] for i, type in enumerate(signature.values()) if type.startswith("*")}
    assert list(signature) == kernel.arg_names, f"{kernel.__name__}: the signature names {list(signature)}"
    for capability in CAPABILITIES:
        source = ASTSource(kernel, signature, constexprs, aligned)
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        report = assembled(made.asm["ptx"], capability)
        yield {
            "kernel": kernel.__name__,
            "constexprs": {n: v if isinstance(v, int) else str(v) for n, v in constexprs.items()},
            "options": options,
            "capability": capability,
            "registers": int(re.findall(r"Used (\d+) registers", report)[0]),
            "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", report))),
            "shared": made.metadata.shared,
        }


def assembled(ptx: str, capability: int) -> str:
    """What the assembler reports about the code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        target = f"--gpu-name={sm_arch_from_capability(capability)}"
        command = [get_ptxas(capability).path, "-v", target, str(file), "-o", str(file.with_suffix(".cubin"))]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr


if __name__ == "__main__":
    found = []
    for name in sys.argv[1:] or modules():
        for configuration in import_module(f"mmppl.kernels.{name}").aot():
            found += [{"module": name, **one} for one in needs(*configuration)]
    print(json.dumps(found))
