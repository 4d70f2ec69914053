"""What a program has of each modality beside latents, such as importances; what a guide without a density refuses."""

import csv
import dataclasses
import io
import json

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from mmppl import FittedModel, Program, UsageError, fit, load_program, read
from mmppl.cli.main import main
from mmppl.evaluation.evaluate import evaluate
from mmppl.inference.draws import draw
from mmppl.inference.questions.question import QUANTITIES

SMALL = dict(hidden=16, latent_dim=4, layers=1)


@pytest.fixture(scope="module")
def digits():
    data = read("digits-three").mask_at_random(rate=0.3, seed=3)
    observed = {n: o.clone() for n, o in data.observed.items()}
    for name in ("image", "profile", "word"):
        observed[name][data.rows("test")[1]] = False
    return dataclasses.replace(data, observed=observed)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return fit("ima", digits, hyper=SMALL, epochs=4).save(tmp_path_factory.mktemp("run") / "ima")


def test_importances_of_each_row_and_modality(run, digits):
    rows = digits.take(digits.rows("test"))
    answer = run.query(want=["importance"])
    found, names = answer["importance"], ["image", "profile", "word"]
    assert found["modalities"] == names and found["value"].shape == (len(rows), 3)
    seen = torch.stack([rows.observed[n] for n in names], -1).numpy()
    assert ((found["value"] > 0) == seen).all() and (found["value"] < 1).all()
    wanted = [names[i] if some else "" for i, some in zip(found["value"].argmax(1), seen.any(1))]
    assert found["most"].tolist() == wanted and wanted[1] == ""
    assert answer.warnings[0].startswith("1 of ")


def test_given_leaves_out_the_others(run):
    whole, part = (run.query(given=given, want="importance")["importance"] for given in (None, ["word", "image"]))
    assert np.array_equal(part["value"][:, [0, 2]], whole["value"][:, [0, 2]]) and not part["value"][:, 1].any()
    assert set(part["most"]) <= {"image", "word", ""}
    nothing = run.query(given=[], want="importance")["importance"]
    assert not nothing["value"].any() and set(nothing["most"]) == {""}


def test_the_code_is_weighted_by_the_importances(run, digits):
    rows = digits.take(digits.rows("test"))
    alone = {n: run.query(given=[n], want="z")["z"]["mean"] for n in ("image", "word")}
    answer = run.query(given=["image", "word"], want=["z", "importance"])
    y = answer["importance"]["value"][:, [0, 2], None]
    total = y.sum(1)
    mean = (y[:, 0] * alone["image"] + y[:, 1] * alone["word"]) / np.where(total, total, 1)
    has = (rows.observed["image"] | rows.observed["word"]).numpy()
    np.testing.assert_allclose(answer["z"]["mean"][has], mean[has], rtol=2e-5, atol=1e-6)


def test_rows_and_precision(run):
    whole = run.query(want=["importance", "label"], draws=3)["importance"]["value"]
    part = run.query(want="importance", rows=slice(3, 9), memory="1MB")
    np.testing.assert_allclose(part["importance"]["value"], whole[3:9], rtol=1e-5)
    rough = run.query(want="importance", precision="bf16")["importance"]["value"]
    assert rough.dtype == np.float32 and 0 < np.abs(rough - whole).max() < 0.05  # bf16 has 8 bits


def test_a_program_without_it_says_so(digits):
    model = FittedModel(load_program("mvae")(digits.modalities, **SMALL), data=digits)
    with pytest.raises(UsageError, match="^query: MVAE has no importance of its modalities; leave it out.$"):
        model.query(want="importance")
    assert QUANTITIES == ("importance",)


@pytest.mark.parametrize(
    "asked", [dict(want="evidence"), dict(want=["z", "evidence"]), dict(want="z", method="importance")], ids=str
)
def test_codes_have_no_density(run, asked):
    with pytest.raises(UsageError, match="^query: IMA has no [^\n]*no density over codes; [^\n]*$"):
        run.query(**asked)


class Coded(Program):
    """A user's own program, with a plain Delta."""

    def __init__(self, modalities):
        super().__init__(modalities)
        self.encoder = nn.Linear(self.modality("image").input_size, 2)
        self.decoders = nn.ModuleDict({m.name: nn.Linear(2, m.output_size) for m in modalities})

    def guide(self, batch):
        with batch.plates():
            pyro.sample("z", dist.Delta(self.encoder(batch.input(self.modality("image")))).to_event(1))

    def model(self, batch):
        with batch.plates():
            self.observe_each(pyro.sample("z", self.standard_normal(2)), batch)


def test_any_delta_is_drawn_and_refused_the_same_way(digits):
    torch.manual_seed(0)
    program = Coded(digits.modalities).eval()
    batch = digits.batch(torch.arange(5), program.encoded)
    z = draw(program, batch, digits.ids[:5], range(7), given=["image"]).guide.nodes["z"]["value"]
    assert z.shape == (7, 5, 2) and torch.equal(z[0], program.encoder(batch.input(program.modality("image"))))
    model = FittedModel(program, data=digits)
    assert not model.query(given="image", want=["z", "word"], draws=9, split="test")["z"]["std"].any()
    with pytest.raises(UsageError, match="Coded has no evidence: .* no density over codes"):
        model.query(given="image", want="evidence")


def test_evaluation_leaves_out_what_means_nothing(run):
    said = []
    found = evaluate(run, metrics=["error.", "collapse", "evidence", "probe"], draws=2, log=said.append)["metrics"]
    assert "collapse" not in found and not any(n.startswith("evidence") for n in found)
    assert {"error.label", "probe.label"} <= set(found)
    assert any("no collapse curve: the guide is deterministic" in line for line in said)
    assert any("no density over codes" in line for line in said)


def asked(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_line(run, tmp_path, capsys):
    line = ("query", run.folder, "--want", "importance", "--rows", "0:4", "--data", "digits-three")
    code, out, err = asked(capsys, *line, "--given=")
    assert not code and "word 0.000  (most: none is given)" in out
    code, out, err = asked(capsys, *line)
    assert not code and "(most: " in out and "none is given" not in out
    assert out.splitlines()[-1].startswith("most importance, of 4 rows: image ")
    code, out, err = asked(capsys, *line, "--given", "word", "--json")
    told = json.loads(out)["want"]["importance"]
    assert set(told) == {"value", "modalities", "most"} and set(told["most"]) <= {"word", ""}
    assert "most importance, of 4 rows: image 0.0% (mean none)" in err
    for suffix in ("npz", "csv"):
        assert not asked(capsys, *line, "--out", tmp_path / f"a.{suffix}")[0]
    with np.load(tmp_path / "a.npz") as file:
        assert file["importance.value"].shape == (4, 3) and file["importance.modalities"].tolist() == told["modalities"]
        values = file["importance.value"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert list(rows[0]) == ["id", *(f"importance.value.{n}" for n in told["modalities"]), "importance.most"]
    assert [float(row["importance.value.word"]) for row in rows] == pytest.approx(values[:, 2].tolist())
    code, out, err = asked(capsys, "query", run.folder, "--want", "evidence", "--data", "digits-three")
    assert code == 2 and "no density over codes" in err
