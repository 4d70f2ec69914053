"""The lock of a run folder, and its files while a fit is writing them."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from filelock import FileLock

from mmppl import Modality
from mmppl.base.files import sha256
from mmppl.errors import DataError, LockedError, UsageError
from mmppl.runs.record import METRICS, PROGRAM, DataRecord, ProgramRecord, RunRecord, write_record
from mmppl.runs.storage import as_it_stands, locked, make_folder, read_checked

H = "0123456789abcdef" * 4
WHOLE = RunRecord(
    program=ProgramRecord("mvae", H), hyper={}, training={}, modalities=(Modality("a", (2,)),),
    data=DataRecord(None, "arrays", 9, H, H, H), seed=0, threads=1, gemm="default", kernels="pytorch",
    device="cpu", versions={}, status="done", sha256={}, logged=0, mmppl="0",
)  # fmt: skip


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


def test_of_a_log_that_grows_only_what_the_record_tells_of_is_read(tmp_path):
    running = replace(WHOLE, status="running").with_metrics(4, sha256(b"one\n"))
    (tmp_path / METRICS).write_bytes(b"one\ntw")
    assert read_checked(tmp_path, running, METRICS) == b"one\n"
    for content, record in ((b"one\ntw", replace(running, status="done")), (b"on", running), (b"onf\n", running)):
        (tmp_path / METRICS).write_bytes(content)
        with pytest.raises(DataError, match="metrics.jsonl: its hash is wrong"):
            read_checked(tmp_path, record, METRICS)


def test_who_reads_beside_a_fit_looks_again_if_the_record_has_changed(tmp_path):
    """The file that the first record names is gone, since run.json is another by now."""
    old, new = WHOLE.with_weights(b"old"), WHOLE.with_weights(b"new")
    (tmp_path / new.weights).write_bytes(b"new")
    write_record(tmp_path, new)
    seen = []

    def look(record):
        seen.append(record)
        return read_checked(tmp_path, record, record.weights)

    assert as_it_stands(tmp_path, old, look) == b"new" and seen == [old, new]
    (tmp_path / new.weights).write_bytes(b"spoilt")
    with pytest.raises(DataError, match="its hash is wrong"):
        as_it_stands(tmp_path, new, look)
    assert seen[2:] == [new]


@pytest.mark.parametrize("name", ["x" * 300, "file/x"])
def test_a_folder_that_cannot_be_made_is_the_users_matter(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="^[^\n]*no folder can be made there [^\n]*Choose another --out.$"):
        make_folder(tmp_path / name, resume=False)


def test_a_hash_that_is_not_there(tmp_path):
    (tmp_path / PROGRAM).touch()
    with pytest.raises(DataError, match="program.py: its hash is wrong"):
        read_checked(tmp_path, WHOLE, PROGRAM)
