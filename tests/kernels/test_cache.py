"""The cache: what others may have written is not used, what is damaged is made again, and nothing is left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmppl.kernels.codegen import c_backend, cache, formula, generate
from mmppl.kernels.codegen.generate import Formula

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and permissions are POSIX's")
ALONE = (  # the module without torch, whose import would take most of the time
    "import importlib.util, os, sys, time\n"
    f"spec = importlib.util.spec_from_file_location('cache', {cache.__file__!r})\n"
    "cache = importlib.util.module_from_spec(spec)\n"
    "spec.loader.exec_module(cache)\n"
)


@pytest.fixture(autouse=True)
def anew():
    """The cache folder is looked for again, here and after the test."""
    for what in (cache.cache_folder, cache._private, cache._say_unwritable):
        what.cache_clear()
    yield
    for what in (cache.cache_folder, cache._private, cache._say_unwritable):
        what.cache_clear()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, temporary):
    """The chosen cache folder, which does not exist yet."""
    monkeypatch.setenv("MMPPL_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def of_another(path, monkeypatch):
    """Give a file to another user, or, where that needs more rights, become another one."""
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda me=os.geteuid(): me + 1)


def alone(folder, temporary, code, **more):
    own = os.environ | {"MMPPL_CACHE": str(folder), "TMPDIR": str(temporary)}
    return subprocess.Popen([sys.executable, "-c", ALONE + code], env=own, text=True, stdout=subprocess.PIPE, **more)


def test_what_is_kept_comes_back(folder):
    assert cache.kept("a.py") is None
    for data in (b"", b"x = 1\n", os.urandom(5000)):
        cache.keep("a.py", data)
        cache.keep("below/b.bin", data)
        assert cache.kept("a.py") == cache.kept("below/b.bin") == data
    assert sorted(path.name for path in folder.iterdir()) == ["a.py", "below"]
    assert all(path.stat().st_mode & 0o022 == 0 for path in [folder, *folder.rglob("*")])
    assert cache.place("a.py") == folder / "a.py"


def test_every_damage_is_found(folder):
    cache.keep("a", b"0123456789" * 9)
    file = folder / "a"
    whole = file.read_bytes()
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert cache.kept("a") is None
        file.write_bytes(whole[:i])
        assert cache.kept("a") is None
    file.write_bytes(whole + b"\n")
    assert cache.kept("a") is None
    file.write_bytes(whole)
    assert cache.kept("a") is not None
    (folder / "b").write_bytes(whole)
    assert cache.kept("b") is None  # it is what was kept under another name


@posix
@pytest.mark.parametrize("fault", ["mode", "owner", "link", "dangling"])
def test_a_folder_of_others_is_refused(fault, folder, tmp_path, temporary, monkeypatch, caplog):
    elsewhere = tmp_path / "elsewhere"
    if fault == "link":
        elsewhere.mkdir()
    if fault in ("link", "dangling"):
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        cache._write(folder, "a", b"planted")
        folder.chmod(0o770 if fault == "mode" else 0o700)
    if fault == "owner":
        of_another(folder, monkeypatch)
    assert cache.kept("a") is None and cache.cache_folder().parent == temporary
    cache.keep("a", b"mine")
    assert cache.kept("a") == b"mine" and cache.place("a").parent == cache.cache_folder()
    (line,) = caplog.messages
    assert str(folder) in line and str(cache.cache_folder()) in line and "$MMPPL_CACHE" in line
    assert cache.cache_folder().stat().st_mode & 0o077 == 0
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


@posix
@pytest.mark.parametrize("name", ["a", "below/a"])
@pytest.mark.parametrize("fault", ["mode", "owner", "link", "fifo", "folder", "folder above"])
def test_a_file_of_others_is_refused(fault, name, folder, tmp_path, monkeypatch, caplog):
    cache.keep(name, b"planted")
    file = folder / name
    if fault == "mode":
        file.chmod(0o664)
    elif fault == "owner":
        of_another(file, monkeypatch)
    elif fault == "folder above":
        file.parent.chmod(0o777)
    else:
        file.rename(tmp_path / "outside")
        {"link": lambda: file.symlink_to(tmp_path / "outside"), "fifo": lambda: os.mkfifo(file), "folder": file.mkdir}[
            fault
        ]()
    assert cache.kept(name) is None
    assert len(caplog.messages) == (fault not in ("fifo", "folder")), caplog.messages
    if os.geteuid() == 0 or fault != "owner":
        cache.keep(name, b"mine")
        assert cache.kept(name) == b"mine"
        if fault == "link":
            assert b"planted" in (tmp_path / "outside").read_bytes() and not file.is_symlink()


@posix
def test_a_file_that_changes_between_look_and_reading_is_refused(folder, monkeypatch):
    cache.keep("a", b"mine")
    first = os.open

    def open_later(path, flags, *mode):
        if path == folder / "a":
            path.chmod(0o666)
        return first(path, flags, *mode)

    monkeypatch.setattr(os, "open", open_later)
    assert cache.kept("a") is None


@posix
def test_the_mask_does_not_make_files_that_are_refused(folder):
    before = os.umask(0o002)
    try:
        cache.keep("below/a", b"mine")
    finally:
        os.umask(before)
    assert cache.kept("below/a") == b"mine"


def test_a_cache_that_can_only_be_read_is_used(folder, temporary, monkeypatch, caplog):
    cache.keep("a", b"from before")

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    first = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, *m: first(path, flags, *m)
                        if not flags & os.O_WRONLY or temporary in path.parents else read_only())  # fmt: skip
    assert cache.kept("a") == b"from before" and not caplog.messages
    cache.keep("b", b"new")
    cache.keep("c", b"new, too")
    assert (cache.kept("a"), cache.kept("b"), cache.kept("c")) == (b"from before", b"new", b"new, too")
    assert cache.place("b").is_file() and temporary in cache.place("b").parents
    (line,) = caplog.messages
    assert f"{folder} cannot be written (Read-only file system)" in line and "$MMPPL_CACHE" in line


def test_nothing_is_left_in_the_temporary_folder(tmp_path, temporary):
    (tmp_path / "file").touch()
    code = "cache.keep('a', b'1'); print(cache.place('a')); assert cache.kept('a') == b'1'\n"
    child = "pid = os.fork()\nif pid: os.waitpid(pid, 0); assert cache.kept('a') == b'1'\n" * hasattr(os, "fork")
    with alone(tmp_path / "file" / "cache", temporary, code + child, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    assert process.returncode == 0 and str(temporary) in out and len(err.splitlines()) == 1, err
    assert not list(temporary.iterdir())


@posix
def test_what_a_killed_process_left_is_swept(folder, temporary):
    code = (
        "folder = cache.cache_folder()\n"
        "(folder / f'.{cache._mark()}7.part').write_bytes(b'half')\n"
        "with cache.scratch() as made:\n"
        "    (made / 'kernel.c').touch()\n"
        "    cache._private()\n"
        "    print('there', flush=True); time.sleep(60)\n"
    )
    others = [folder / ".notes.part", folder / f".1.{cache._computer()}.x.part", temporary / "mmppl-runs"]
    with alone(folder, temporary, code) as process:
        assert process.stdout.readline() == "there\n"
        for path in others:
            path.mkdir()
        cache.cache_folder()
        cache._private()
        assert len(list(folder.iterdir())) == 4  # the process lives
        process.kill()
    assert process.returncode == -signal.SIGKILL
    for what in (cache.cache_folder, cache._private):
        what.cache_clear()
        what()
    assert set(folder.iterdir()) == set(others[:2])
    assert not [path for path in temporary.iterdir() if f"-{process.pid}." in path.name] and others[2].is_dir()


def test_leftovers_of_another_computer_go_after_a_day(folder):
    folder.mkdir(mode=0o700)
    old, new = folder / ".4194303.00000000.x.part", folder / ".4194302.00000000.x.part"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    assert cache.cache_folder() == folder and list(folder.iterdir()) == [new]


def test_many_processes_keep_the_same_file(folder, temporary):
    code = (
        "name = 'below/a.so'\n"
        "for i in range(10):\n"
        "    cache.keep(name, sys.argv[0].encode() + b'x' * 100_000)\n"
        "    assert cache.kept(name) is not None\n"
    )
    processes = [alone(folder, temporary, code) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    for process in processes:
        process.stdout.close()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a.so"]


@pytest.fixture
def compiled(folder):
    if c_backend.compiler() is None:
        pytest.skip("no C compiler")
    return lambda number: c_backend._load(f"int answer(void) {{ return {number}; }} static char room[100000];")


def test_a_library_outlives_the_damage_of_its_file(compiled, folder):
    """A mapped file that is cut off kills the process that reads on in it; ours are mapped by nobody."""
    library = compiled(7)
    (file,) = folder.glob("*.so")
    whole = file.read_bytes()
    for cut in (0, 100, 4096, len(whole) - 1):
        os.truncate(file, cut)
        assert library.answer() == compiled(7).answer() == 7
        assert file.read_bytes()[:64] == whole[:64] and len(file.read_bytes()) >= len(whole) - 64
    assert not list(folder.glob(".*"))


def test_a_library_that_was_replaced_is_not_executed(compiled, folder):
    compiled(7)
    (file,) = folder.glob("*.so")
    compiled(8)
    (other,) = set(folder.glob("*.so")) - {file}
    file.write_bytes(other.read_bytes())
    assert compiled(7).answer() == 7


@pytest.mark.parametrize("memory", [True, False])
def test_libraries_are_not_mistaken_for_each_other(compiled, memory, monkeypatch, temporary):
    """The loader knows libraries by their paths, and a descriptor's number is soon another's."""
    if not memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    for _ in range(2):
        assert [compiled(number).answer() for number in range(2)] == [0, 1]
    assert not list(temporary.iterdir())


def test_a_system_that_forbids_code_in_memory_gets_a_copy(compiled, monkeypatch):
    first = ctypes.CDLL

    def no_memory(path):
        if path.startswith("/proc"):
            raise OSError("failed to map segment from shared object")
        return first(path)

    monkeypatch.setattr(ctypes, "CDLL", no_memory)
    assert compiled(5).answer() == 5


def test_many_threads_generate_a_formula_once(folder, monkeypatch):
    monkeypatch.setattr(generate, "FORMULAS", {})
    derived, derive, start = [], formula.derive, threading.Barrier(8)

    def slowly(*parts):
        derived.append(1)
        time.sleep(0.05)
        return derive(*parts)

    monkeypatch.setattr(formula, "derive", slowly)

    def first_use(i):
        start.wait()
        made = Formula("threaded", "exp(x)*2.25", ("x",), ("x",))
        assert "2.25" in made.source()
        return made.value_and_grad(torch.tensor(1.0 + i))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(first_use, range(8)))
    for i, pair in enumerate(found):
        torch.testing.assert_close(pair, (2.25 * torch.tensor(1.0 + i).exp(),) * 2)
    assert len(derived) == 1


def test_changed_numbers_in_a_module_are_not_computed_with(folder, monkeypatch):
    monkeypatch.setattr(generate, "FORMULAS", {})
    mine = ("changed", "3.25*x", ("x",), ("x",))
    assert Formula(*mine).value(torch.tensor(2.0)) == 6.5
    file = Formula(*mine).path()
    file.write_bytes(file.read_bytes().replace(b"3.25", b"4.25"))
    assert Formula(*mine).value(torch.tensor(2.0)) == 6.5
    assert b"4.25" not in file.read_bytes() and not list(folder.rglob("__pycache__"))
