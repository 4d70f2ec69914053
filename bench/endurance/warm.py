"""A process that has loaded everything and starts command lines by forking itself: a hundredth of a second each, in
place of the seconds that an import takes.

    with Warm(["fit", "mvae", ...]) as warm:  # the command line that warms it
        pid = warm.start(["fit", "mvae", ...])
        os.kill(pid, signal.SIGKILL)
        warm.wait(pid)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class Warm:
    """Starts command lines of `mmppl`, each in a process of its own.

    Args:
        words: a command line that is run first, so that what it loads and compiles is there.
    """

    def __init__(self, words: Sequence[str]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        line = [sys.executable, "-m", __name__]
        self.server = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
        )
        if code := self.wait(self.start(words, here=True)):
            self.server.kill()
            raise RuntimeError(f"mmppl {' '.join(words)}: exit code {code}")

    def start(self, words: Sequence[str], log: str = os.devnull, here: bool = False) -> int:
        """Start a command line.

        Args:
            words: the command line.
            log: the file that receives what it prints.
            here: run it in the warm process itself.

        Returns:
            The process id; it is not given to another process before `wait`.
        """
        return self._ask({"words": list(words), "log": log, "here": here})

    def wait(self, pid: int) -> int:
        """Wait until a process has ended.

        Args:
            pid: its id.

        Returns:
            Its exit code, or minus the signal that killed it.
        """
        return self._ask({"wait": pid})

    def _ask(self, question: dict[str, object]) -> int:
        assert self.server.stdin is not None and self.server.stdout is not None
        print(json.dumps(question), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the warm process has ended (exit code {self.server.wait()})")
        return int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()


def serve() -> None:
    """Answer the questions of `Warm` on stdin, until it is closed. Nothing here may start a thread."""
    import torch

    from mmppl.cli.main import main

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    ended: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            pid = question["wait"]
            code = ended.pop(pid, None)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if code is None else code, file=answers, flush=True)
            continue
        pid = os.getpid() if question["here"] else os.fork()
        if pid in (0, os.getpid()):
            with open(question["log"], "w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            code = main(question["words"])
            if pid == 0:
                os._exit(code)
            ended[pid] = code
        print(pid, file=answers, flush=True)


if __name__ == "__main__":
    serve()
