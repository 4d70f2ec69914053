import io

import pytest

from mmppl.cli import progress
from mmppl.train.loop import Progress

EVENT = Progress(
    epoch=2, epochs=9, step=18, steps=90, loss=12.345678, seconds=5.0, rows_per_second=1234.5, eta_seconds=75.0
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_are_rare(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.talk() as log:
        log("a message")
        for second in range(25):
            now[0] = float(second)
            log(EVENT)
    out, err = capsys.readouterr()
    line = "fit: epoch 2/9  step 18/90  loss 12.35  1,234 rows/s  1 min 15 s left"
    assert out == "" and err.splitlines() == ["a message", line, line]


def test_bar_on_a_terminal(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    with progress.talk() as log:
        log("[a] message")
        log(EVENT)
    text = stderr.getvalue()
    assert "[a] message" in text and "2/9" in text
    assert " 20%" in text  # step 18 of all 90


@pytest.mark.parametrize(
    "seconds, text", [(12.4, "12 s"), (75, "1 min 15 s"), (7380, "2 h 3 min"), (float("nan"), "?"), (float("inf"), "?")]
)
def test_duration(seconds, text):
    assert progress._duration(seconds) == text
