"""Running the command line in a test, and sealing a run again after it was changed."""

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

SMALL = ["--epochs", "1", "--set", "hidden=16", "--set", "layers=1", "--set", "latent_dim=3"]
MAIN = [sys.executable, "-m", "mmppl"]


@dataclass
class Result:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def failed(self, code: int, *parts: str, talk: bool = False) -> None:
        """It ended with this code, nothing on stdout and one line (after a fit's talk) that has all these parts."""
        assert (self.code, self.out) == (code, ""), self
        lines = self.err.splitlines()
        assert talk or len(lines) == 1, self.err
        assert [line.startswith("mmppl: ") for line in lines] == [False] * (len(lines) - 1) + [True], self.err
        assert "Traceback" not in self.err
        for part in parts:
            assert part in lines[-1], (part, lines[-1])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def reseal(run: Path, source: bytes) -> None:
    """What an attacker can do: another program in the run, and every hash made to fit."""
    from mmppl.runs.record import read_record, write_record

    record = read_record(run)
    (run / "program.py").write_bytes(source)
    record = replace(record, program=replace(record.program, sha256=sha256(source)))
    write_record(run, replace(record, sha256={**record.sha256, "program.py": sha256(source)}))


def installed(name: str) -> Path:
    """The file of a program that comes with the package."""
    from mmppl.core.loading import installed_programs

    return installed_programs()[name]
