"""Preset files: written and read back, over the program's settings and under the call's, and what is wrong in them."""

import pytest

import mmppl
from mmppl import DataError, UsageError
from mmppl.train.settings import settings_for
from mmppl.train.tuning.preset_file import read_preset, write_preset

CMMD = mmppl.load_program("cmmd")
HYPER = dict(latent_dim=8, omega=0.25, observed=("rotated", "noisy"), decoder_hidden=None, kernel="mixture")
TRAINING = dict(lr=1e-5, batch_size=32, clip=None, calibrate=False, schedule="constant")


def test_what_is_written_is_what_a_fit_reads(tmp_path):
    file = tmp_path / "best.toml"
    write_preset(file, HYPER, TRAINING, ["from a test,\nin two lines\x1b[0m"])
    assert file.read_text().splitlines()[0] == "# from a test, in two lines [0m"
    hyper, settings = settings_for(CMMD, {}, file)
    assert hyper == HYPER
    assert {name: getattr(settings, name) for name in TRAINING} == TRAINING


def test_the_call_comes_first_then_the_file_then_the_program(tmp_path):
    file = tmp_path / "mine.toml"
    write_preset(file, {"omega": 0.25, "latent_dim": 8}, {"steps": 70, "lr": 0.5})
    hyper, settings = settings_for(CMMD, {"omega": "0.5"}, str(file), epochs=3)
    assert hyper == {"omega": 0.5, "latent_dim": 8}
    assert (settings.epochs, settings.steps, settings.lr) == (3, None, 0.5)  # epochs replace steps
    assert settings_for(CMMD, {}, None)[1].lr == CMMD.training["lr"] != 0.5


def test_what_a_preset_file_sets_stands_in_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_preset("small.toml", {"hidden": 4, "layers": 1, "latent_dim": 2}, {"epochs": 1, "calibrate": False})
    arrays = {"x": [[0.0, 1.0], [1.0, 0.0]] * 10, "y": [[0.5], [0.1]] * 10}
    run = mmppl.fit("mvae", arrays, preset="small.toml")
    assert run.record.hyper == {"hidden": 4, "layers": 1, "latent_dim": 2}
    assert run.record.training["epochs"] == 1 and run.record.training["calibrate"] is False


@pytest.mark.parametrize(
    ("text", "message", "error"),
    [
        ("[hyper]\nomga = 0.2", "has no hyper-parameter 'omga'.*Did you mean omega", UsageError),
        ("[hyper]\nomega = 'much'", "omega=much is no finite float", UsageError),
        ("[hyper]\nkernel = 'mixtur'", "kernel=mixtur is none of paper, mixture. Did you mean mixture", UsageError),
        ("[training]\nleraning = 2", "no training setting is called 'leraning'", UsageError),
        ("[training]\nlr = 'fast'", "lr=fast is no finite float", UsageError),
        ("[training]\nlr = -1.0", "lr -1.0 is not positive", UsageError),
        ("[training]\nepochs = 2.5", "epochs=2.5 is no int", UsageError),
        ("[hyper]\nlr = 0.1", "lr belongs under .training.; move it there", UsageError),
        ("[training]\nomega = 0.1", "omega belongs under .hyper.; move it there", UsageError),
        ("[hypr]\nomega = 0.1", "'hypr' is none of the tables.*Did you mean hyper", UsageError),
        ("omega = 0.1", "'omega' is none of the tables", UsageError),
        ("hyper = 3", "hyper = 3 is no table", UsageError),
        ("[hyper\n", "not a preset file in TOML", DataError),
        (b"\xff\xfe", "not a preset file in TOML", DataError),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, text, message, error):
    file = tmp_path / "mine.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=message) as raised:
        settings_for(CMMD, {}, file)
    assert "\n" not in str(raised.value) and ("-1.0" in str(raised.value) or str(file) in str(raised.value))


def test_a_preset_that_is_nowhere_is_a_name_or_a_file(tmp_path):
    with pytest.raises(UsageError, match="no preset 'paper-mnis'.*Did you mean paper-mnist"):
        settings_for(CMMD, {}, "paper-mnis")
    with pytest.raises(UsageError, match="no such preset file"):
        settings_for(CMMD, {}, tmp_path / "none.toml")
    with pytest.raises(UsageError, match="no such preset file"):
        read_preset("best.toml")
