"""What the command line refuses, and how: one line, the exit code, and nothing lost."""

import os
import subprocess
import sys

import numpy as np
import pytest
from command import MAIN, SMALL, installed, reseal
from filelock import FileLock

# 1: failures that are nobody's input


def test_loss_that_is_not_finite(mmppl, tmp_path):
    result = mmppl("fit", "cmmd", *SMALL, "--lr", "1e30", "--set", "dropout=0", "--out", tmp_path / "run")
    result.failed(1, "error: the loss is not finite", "epoch 1", talk=True)


@pytest.mark.parametrize(
    "error, parts",
    [
        (ValueError("odd\nthing"), ["internal error: ValueError: odd thing; run again with --debug"]),
        (MemoryError(), ["error: out of memory", "--batch-size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["error: out of memory"]),
        (
            OSError(28, "No space left on device", "/mnt/run.json"),
            ["error: data: /mnt/run.json: No space left on device; free some and run again"],
        ),
        (PermissionError(13, "Permission denied", "/root/x"), ["error: data: /root/x: Permission denied; change its"]),
        (OSError(5, "Input/output error"), ["error: data: Input/output error; look after the disk"]),
        (OSError(27, "File too large", "/x/a.npz"), ["error: data: /x/a.npz: File too large; raise the limit"]),
        (OSError(31, "Too many links", "/x"), ["error: data: /x: Too many links; choose another place"]),
        (EOFError(), ["internal error: EOFError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_surprises_are_one_line(mmppl, monkeypatch, error, parts):
    def fail():
        raise error

    monkeypatch.setattr("mmppl.data.recipes.registry.recipes", fail)
    mmppl("data").failed(1, *parts)
    for words in (("--debug", "data"), ("data", "--debug")):
        result = mmppl(*words)
        assert result.code == 1 and "Traceback" in result.err


def test_debug_shows_the_traceback_of_a_users_error_too(mmppl):
    result = mmppl("show", "no-such", "--debug")
    assert result.code == 2 and "Traceback" in result.err and result.err.splitlines()[-1].startswith("mmppl: error: ")


def test_terminal_that_knows_ascii_only():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*MAIN, "data"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "8?8 digit" in done.stdout


def test_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MAIN, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_reader_that_goes_away():
    process = subprocess.Popen([*MAIN, "fit", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1


def test_the_hosts_stdout_outlives_an_error_that_is_not_its_own():
    code = "from mmppl import cli; from mmppl.data.recipes import registry\n"
    code += "registry.recipes = lambda: open('/no/such/file')\n"
    code += "cli.main(['data']); print('still here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "still here\n" and "error: data: /no/such/file: No such file or directory" in done.stderr


# 2: usage


@pytest.mark.parametrize(
    "words, parts",
    [
        ("fitt cmmd", ["'fitt'", "Did you mean 'fit'?", "mmppl --help"]),
        ("fit cmmd --epohcs 1", ["--epohcs", "Did you mean --epochs?", "mmppl fit --help"]),
        ("fit", ["name a program", "--data FILE"]),
        ("fit cmmd --epochs few", ["--epochs"]),
        ("fit cmmd --epochs 0", ["epochs 0"]),
        ("fit cmmd --lr -1", ["lr -1"]),
        ("fit cmmdd", ["'cmmdd'", "Did you mean cmmd?"]),
        ("fit cmmd --preset paper-mnits", ["'paper-mnits'", "Did you mean paper-mnist?"]),
        ("fit cmmd --set latent_dims=3", ["'latent_dims'", "Did you mean latent_dim?"]),
        ("fit cmmd --set latent_dim=three", ["latent_dim=three", "int"]),
        ("fit cmmd --set latent_dim", ["--set latent_dim: expected NAME=VALUE"]),
        ("fit cmmd --set trunk=cnv", ["trunk=cnv is none of mlp, conv", "Did you mean conv?"]),
        ("fit cmmd --set mmd_lambda=nan", ["mmd_lambda=nan"]),
        ("fit cmmd --set observed=rotatd", ["rotatd", "Did you mean rotated?"]),
        ("fit mvae --set subsets=smpled", ["subsets=smpled is none of auto, all, sampled", "Did you mean sampled?"]),
        ("fit mvae --set beta=-1", ["MVAE: beta=-1.0 is negative"]),
        ("fit mvae --set extra=-1", ["MVAE: extra=-1 is negative"]),
        ("fit mvae --set warm_up=2", ["MVAE: warm_up=2.0 is not between 0 and 1"]),
        ("fit jmvae --set beta=-1", ["JMVAE: beta=-1.0 is negative"]),
        ("fit vcca --set views=rotatd", ["views=rotatd", "rotated, noisy", "Did you mean rotated?"]),
        ("fit vcca --set private=-1", ["VCCA: private=-1", "one size ≥ 0"]),
        ("fit jmvae --set alpha=-0.5", ["JMVAE: alpha=-0.5 is negative"]),
        ("fit mmvae --set beta=-1", ["MMVAE: beta=-1.0 is negative"]),
        ("fit mopoe --set label_weight=-1", ["MoPoE: label_weight=-1.0 is negative"]),
        ("fit cmmd --set alpha=-1", ["CMMD: alpha=-1.0 is negative"]),
        ("fit cmmd --set decoder_hidden=0", ["hidden layers of 0", "at least 1"]),
        ("fit cmmd --set encoder_hidden=0", ["hidden layers of 0", "at least 1"]),
        ("fit cmmd --set omega=2", ["CMMD: omega=2.0 is not between 0 and 1"]),
        ("fit cmmd --data digits-tow-view", ["'digits-tow-view'", "Did you mean digits-two-view?"]),
        ("fit cmmd --data digits-two-view:rotat=fresh", ["'rotat'", "Did you mean rotate?"]),
        ("fit cmmd --as noizy=normal", ["noizy", "Did you mean noisy?"]),
        ("fit cmmd --as noisy=norml", ["norml", "Did you mean normal?"]),
        ("fit cmmd --hide 1.5", ["1.5"]),
        ("fit cmmd --device gpu", ["--device gpu"]),
        ("fit cmmd --schedule cosin", ["--schedule cosin", "Did you mean cosine?"]),
        ("fit cmmd --resume", ["--resume", "--out"]),
        ("show cmm", ["'cmm'", "Did you mean cmmd?"]),
        ("data digits-tree", ["Did you mean digits-three?"]),
    ],
    ids=str,
)
def test_usage(mmppl, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    mmppl(*words.split()).failed(2, "error: ", *parts)


@pytest.mark.parametrize(
    "words, parts",
    [
        ("query RUN --given rotatd", ["'rotatd'", "Did you mean rotated?"]),
        ("query RUN --want lable", ["'lable'", "Did you mean label?"]),
        ("query RUN --given=", ["rotated"]),
        ("query RUN --given noisy", ["rotated"]),
        ("query RUN --rows 0:100000", ["0:100000", "out of range"]),
        ("query RUN --rows 5:2", ["5:2"]),
        ("query RUN --rows a:b", ["--rows a:b"]),
        ("query RUN --split tets", ["--split tets", "Did you mean test?"]),
        ("query RUN --method improtance", ["--method improtance", "Did you mean importance?"]),
        ("query RUN --draws 0", ["--draws"]),
        ("query RUN --precision bf61", ["--precision bf61", "Did you mean bf16?"]),
        ("query RUN --memory lots", ["--memory lots", "500MB"]),
        ("query RUN --memory 0", ["--memory 0", "500MB"]),
        ("query RUN --rows 0:1 --memory 9kB", ["memory is 9.0 kB", "fewer draws"]),
        ("query RUN --out answer.txt", ["--out answer.txt", ".npz"]),
        ("query RUN --out no/such/folder/answer.npz", ["folder"]),
        ("query RUN --program nowhere.py", ["nowhere.py"]),
        ("query RUNN --want label", ["RUNN", "Did you mean"]),
        ("query RUN/state --want label", ["no run.json"]),
        ("evaluate RUN --metric eror", ["'eror'", "Did you mean error"]),
        ("evaluate RUN --split tets", ["Did you mean test?"]),
        ("evaluate RUN nowhere", ["nowhere"]),
        ("plot nowhere", ["nowhere"]),
        ("show nowhere", ["nowhere"]),
        ("fit cmmd --out RUN", ["RUN", "--resume"]),
        ("fit cmmd --out nowhere --resume", ["nowhere"]),
        ("fit mvae --data digits-two-view --out RUN --resume", ["program"]),
    ],
    ids=str,
)
def test_usage_of_a_run(mmppl, fitted, words, parts):
    mmppl(*words.replace("RUN", str(fitted)).split()).failed(
        2, "error: ", *(part.replace("RUN", str(fitted)) for part in parts)
    )


def test_program_with_a_syntax_error(mmppl, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("import torch\nclass Bad(:\n    pass\n")
    mmppl("fit", file).failed(2, f"{file}:2", "SyntaxError")
    file.write_text("import torch\n\nraise RuntimeError('no luck')\n")
    mmppl("show", file).failed(2, f"{file}:3", "RuntimeError: no luck")
    file.write_text("import sys\nsys.exit(0)\n")
    mmppl("show", file).failed(2, f"{file}:2", "SystemExit: 0")


def test_program_with_two_classes(mmppl, tmp_path):
    file = tmp_path / "two.py"
    file.write_text("from mmppl import Program\nclass A(Program): ...\nclass B(Program): ...\n")
    mmppl("fit", file).failed(2, str(file), "A, B")
    file.write_text("x = 1\n")
    mmppl("fit", file).failed(2, str(file), "none")


LONG = "x" * 300


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, ("fit", "mvae", "--out", LONG)),
        (2, ("fit", "mvae", "--out", "file/run")),
        (2, ("fit", "mvae", "--out", "loop")),
        (2, ("fit", "mvae", "--out", LONG, "--resume")),
        (2, ("fit", LONG)),
        (2, ("fit", "mvae", "--data", LONG)),
        (5, ("fit", "mvae", "--data", f"{LONG}.npz")),
        (5, ("fit", "mvae", "--data", f"{LONG}/x")),
        (5, ("data", f"{LONG}.npz")),
        (5, ("data", "loop.npz")),
        (2, ("show", LONG)),
        (2, ("query", LONG)),
        (2, ("query", f"{LONG}/run")),
        (2, ("evaluate", LONG)),
        (2, ("plot", LONG)),
    ],
    ids=lambda value: " ".join(value).replace(LONG, "LONG") if isinstance(value, tuple) else "",
)
def test_a_path_that_no_system_takes(mmppl, tmp_path, monkeypatch, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for link in ("loop", "loop.npz"):
        (tmp_path / link).symlink_to(link)
    mmppl(*words).failed(code)


def test_an_answer_under_a_name_that_no_system_takes(mmppl, fitted, tmp_path):
    file = tmp_path / f"{LONG}.npz"
    result = mmppl("query", fitted, "--rows", "0:2", "--draws", "2", "--out", file)
    result.failed(2, f"query: {file}: File name too long; choose a shorter name")


# 3: untrusted code


def test_program_in_a_run_is_not_executed(mmppl, copy, tmp_path):
    marker = tmp_path / "executed"
    source = f"open({str(marker)!r}, 'w').close()\n".encode() + (copy / "program.py").read_bytes()
    reseal(copy, source)
    for words in (("query", copy, "--rows", "0:1"), ("evaluate", copy), ("plot", copy)):
        mmppl(*words).failed(3, "another version", "--program FILE", "--trust-program")
    mmppl("query", copy, "--program", installed("cmmd")).failed(3, "hash differs")
    assert mmppl("show", copy).code == 0
    assert not marker.exists()

    own = tmp_path / "own.py"
    own.write_bytes(source)
    assert mmppl("query", copy, "--rows", "0:1", "--program", own).code == 0
    assert marker.exists()
    marker.unlink()
    for name in [name for name in sys.modules if name.startswith("mmppl_program_own_")]:
        del sys.modules[name]
    assert mmppl("query", copy, "--rows", "0:1", "--trust-program").code == 0
    assert marker.exists()


def test_a_program_of_ones_own(mmppl, mine, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(installed("mvae").read_text() + "\n# mine\n")
    run = tmp_path / "run"
    result = mmppl("fit", file, *SMALL, "--data", mine, "--out", run)
    assert result.code == 0 and result.out.rstrip().endswith(f"--program {file}")
    mmppl("query", run, "--rows", "0:1").failed(3, "'mine' is not installed")
    assert mmppl("query", run, "--rows", "0:1", "--program", file).code == 0
    assert "--program FILE" in mmppl("show", run).out


# 4: locked


def test_run_that_another_fit_writes(mmppl, copy):
    before = (copy / "run.json").read_bytes()
    with FileLock(copy / ".lock"):
        mmppl("fit", "cmmd", *SMALL, "--seed", "3", "--out", copy, "--resume").failed(4, str(copy), "another fit")
    assert (copy / "run.json").read_bytes() == before


# 5: bad data


def test_no_such_file(mmppl, fitted, tmp_path):
    for words in (("data", "mine.npz"), ("fit", "mvae", "--data", "mine.npz"), ("query", fitted, "--data", "mine.npz")):
        mmppl(*words).failed(5, "mine.npz", "no such file")


def test_truncated_npz(mmppl, fitted, tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, rotated=np.random.default_rng(0).random((20, 8, 8)))
    file.write_bytes(file.read_bytes()[:-300])
    for words in (
        ("data", file),
        ("query", fitted, "--data", file),
        ("fit", "cmmd", "--data", file, "--out", tmp_path / "r"),
    ):
        mmppl(*words).failed(5, str(file), "truncated")


def test_an_infinite_cell_of_an_observed_row(mmppl, tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 3))
    values[4, 1] = np.inf
    np.savez(tmp_path / "mine.npz", x=values)
    mmppl("data", tmp_path / "mine.npz").failed(5, "'x'", "row 4", "column 1")


def test_no_row_has_all_that_a_joint_posterior_sees(mmppl, tmp_path):
    """Rows with either a or b: JMVAE has nothing to learn from, and reports how many it left out."""
    rng, has = np.random.default_rng(0), np.arange(40) % 2 == 0
    np.savez(tmp_path / "mine.npz", a=rng.random((40, 4)), b=rng.normal(size=(40, 2)), mask_a=has, mask_b=~has)
    result = mmppl("fit", "jmvae", *SMALL, "--data", tmp_path / "mine.npz", "--out", tmp_path / "run")
    result.failed(5, "mine.npz", "no training row has what JMVAE learns from", talk=True)
    assert "train rows lack what JMVAE learns from: left out." in result.err and not (tmp_path / "run").exists()


def test_recipe_without_its_files(mmppl, tmp_path):
    mmppl("fit", "cmmd", "--data", "mnist-two-view", "--root", tmp_path).failed(5, "idx", str(tmp_path))


def file_of(run, name):
    """A file of a run; of the weights, whichever run.json names."""
    from mmppl.runs.record import read_record

    return run / (read_record(run).weights if name == "weights" else name)


@pytest.mark.parametrize("name", ["run.json", "weights", "program.py", "metrics.jsonl"])
def test_a_flipped_byte(mmppl, copy, name):
    file = file_of(copy, name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    command = "plot" if name == "metrics.jsonl" else "query"
    mmppl(command, copy).failed(5, str(file))


@pytest.mark.parametrize("name", ["weights", "program.py"])
def test_a_missing_file(mmppl, copy, name):
    file = file_of(copy, name)
    file.unlink()
    mmppl("query", copy).failed(5, str(file))


def test_data_that_changed_since_the_fit(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--out", run).code == 0
    with np.load(mine) as arrays:
        changed = {**arrays, "a": arrays["a"] + 1}
    np.savez(mine, **changed)
    mmppl("query", run).failed(5, str(mine), "fingerprint")


# 130: interrupted


def test_ctrl_c_elsewhere(mmppl, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("mmppl.data.recipes.registry.recipes", stop)
    mmppl("data").failed(130, "interrupted")


def test_nothing_is_left_of_a_fit_that_never_began(mmppl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mmppl("fit", "cmmd", "--set", "latent_dim=x").failed(2)
    assert not os.listdir(tmp_path)
