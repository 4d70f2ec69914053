"""MMVAE from the command line; its options; data that lack a modality or labels."""

import dataclasses
import json

import pytest
import torch

from mmppl import UsageError, likelihood_weights, load_program, read
from mmppl.cli import main
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.inference.query import ask

SMALL = ["--set", "hidden=16", "--set", "latent_dim=4", "--set", "draws=3"]


@pytest.fixture(scope="module")
def digits():
    return read("digits-three").mask_at_random(rate=0.3, seed=2)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="default"),
        pytest.param(["--preset", "paper-mnist-svhn"], id="paper", marks=pytest.mark.slow),
    ],
)
def test_fit_query_evaluate_show(options, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["fit", "mmvae", "--epochs", "2", "--hide", "0.3", *options, *SMALL, "--out", run]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[1]["train"]["bound"] < lines[0]["train"]["bound"]
    assert {"bound", "nll.image", "nll.label", "kl.z"} <= set(lines[1]["valid"])
    for command in (
        ["query", run, "--rows", "0:5", "--given", "image,word", "--want", "z,profile,label,evidence"],
        ["query", run, "--rows", "0:5", "--want", "z", "--method", "importance"],
        ["evaluate", run],
        ["show", run],
        ["show", "mmvae"],
    ):
        assert main(command) == 0, command
    assert "laplace" in capsys.readouterr().out


def program_on(data, **hyper):
    torch.manual_seed(0)
    return load_program("mmvae")(data.modalities, hidden=16, latent_dim=4, draws=3, **hyper)


@pytest.mark.parametrize("kind", ["elbo", "iwae", "looser"])
def test_a_modality_absent_from_all_rows_is_as_if_it_were_never_there(digits, kind):
    """Loss and gradients are the same without it, whatever its encoder outputs; and answers do not use it."""
    observed = {**digits.observed, "word": torch.zeros(len(digits), dtype=torch.bool)}
    data = dataclasses.replace(digits, observed=observed)
    program = program_on(data, objective=kind).train()
    rows = program.usable(observed).nonzero().flatten()[:64]
    batch = dataclasses.replace(data.batch(rows, program.encoded), patterns=MissingnessPatterns.of(observed))

    def everything():
        torch.manual_seed(1)
        terms = program.objective(batch)
        names, parameters = zip(*program.named_parameters())
        return terms, dict(zip(names, torch.autograd.grad(terms.loss, parameters)))

    terms, gradients = everything()
    assert terms.loss.isfinite() and terms["nll.word"][0] == 0
    assert all((g == 0).all() for n, g in gradients.items() if n.startswith(("encoders.word", "decoders.word")))
    with torch.no_grad():
        for p in program.encoders["word"].parameters():
            p.fill_(3.0)
    again, same = everything()
    assert again.loss == terms.loss and all(torch.equal(g, same[n]) for n, g in gradients.items())
    answer = ask(program.eval(), data.take(rows[:5]), want=["z", "word", "evidence"], draws=20)
    assert all((value == value).all() for value in answer["z"].values())


def test_data_without_labels(digits):
    modalities = tuple(m for m in digits.modalities if m.role != "label")
    kept = {n: digits.observed[n] for n in (m.name for m in modalities)}
    data = dataclasses.replace(digits, modalities=modalities, values={n: digits.values[n] for n in kept}, observed=kept)
    program = program_on(data)
    assert "nll.label" not in program.objective(data.batch(torch.arange(32), program.encoded))
    answer = ask(program.eval(), data.take(torch.arange(4)), given=["image"], want=["z", "word"], draws=10)
    assert answer["z"]["mean"].shape == (4, 4)


def test_no_draws_is_a_usage_error(digits):
    with pytest.raises(UsageError, match="draws=0"):
        load_program("mmvae")(digits.modalities, draws=0)


def test_weights_of_the_likelihoods(digits):
    sizes = {m.name: m.size for m in digits.modalities if m.role != "label"}
    by_size = {n: max(sizes.values()) / s for n, s in sizes.items()}
    assert likelihood_weights(digits.modalities, weigh="size", label_weight=5.0) == {**by_size, "label": 5.0}
    assert likelihood_weights(digits.modalities, label_weight=1.0) == dict.fromkeys(digits.values, 1.0)
    terms = program_on(digits, weights=(2.0, 3.0, 4.0), label_weight=1.0, objective="elbo").objective(
        digits.batch(torch.arange(8), ("image", "profile", "word"))
    )
    assert {n: w for n, (_, w) in terms.items()} == {
        "nll.image": 2.0,
        "nll.profile": 3.0,
        "nll.word": 4.0,
        "nll.label": 1.0,
        "kl.z": 1.0,
    }
    for wrong in ((1.0, 2.0), (1.0, -1.0, 1.0)):
        with pytest.raises(UsageError, match="one number ≥ 0 for each of image, profile, word"):
            likelihood_weights(digits.modalities, weigh=wrong)
