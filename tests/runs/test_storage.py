"""The lock of a run folder."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from mmppl.errors import DataError, LockedError, UsageError
from mmppl.runs.storage import locked


def test_a_run_is_locked_once(tmp_path):
    with locked(tmp_path), pytest.raises(LockedError, match="another fit is writing"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_the_lock_is_that_of_other_programs(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(LockedError), locked(tmp_path):
        pass


def test_a_lock_dies_with_its_process(tmp_path):
    code = (
        "import sys, pathlib, mmppl.runs.storage as storage\n"
        "with storage.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    line = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError), locked(tmp_path):
            pass
        holder.kill()
    assert holder.returncode == -signal.SIGKILL
    with locked(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="^[^\n]*.lock: a link[^\n]*Remove it.$"), locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(UsageError, match="^[^\n]*has no locks[^\n]*--out[^\n]*$"), locked(tmp_path):
        pass
