"""MDM: its loss by hand, the sham, gaps in every fusion network, what no answer sees, and what is refused."""

import math

import numpy as np
import pytest
import tiny_transformers
import torch

import mmppl
from mmppl import Callback, Run, UsageError, align_words, fit, load_program, read
from mmppl.objectives.dependence.shuffle import shuffled
from mmppl.testing import check_program
from mmppl.testing.samples import small_series
from mmppl.train.stages.plan import plan_stages
from mmppl.train.step import Step

MDM = load_program("mdm")
NETWORKS = ["ef-lstm", "lf-lstm", "lmf", "mfn", "tfn"]
EMBEDDED = ["lf-lstm", "lmf", "mfn", "tfn"]
TINY = dict(steps=4, batch_size=16, refit=False, calibrate=False)
N, T = 48, 4


def arrays(filler=0.0, lengths=(T, T), label="score"):
    """Two sequences of unequal length that hold a score and noise, and a vector; a quarter of each is missing."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=N)
    found = {"score": score, "kind": np.where(score > 0, "up", "down"), "split": np.arange(N) % 4 // 3 * 2}
    for name, steps, F in zip(("text", "audio"), lengths, (3, 2)):
        x, length = score[:, None, None] + rng.normal(size=(N, steps, F)), rng.integers(1, steps + 1, N)
        there = rng.random(N) > 0.25
        x[(np.arange(steps) >= length[:, None]) | ~there[:, None]] = filler
        found |= {name: x, f"length_{name}": length, f"mask_{name}": there}
    del found["kind" if label == "score" else "score" if label == "kind" else "split"]
    return found


def data(**how):
    as_ = {"score": "laplace:role=label", "kind": "categorical:role=label"}
    return read(arrays(**how), as_={name: as_[name] for name in as_ if how.get("label", "score") in (name, "both")})


def made(rows, **hyper):
    torch.manual_seed(0)
    return MDM(rows.modalities, **hyper)


def batch_of(rows, program, n=40):
    return rows.batch(torch.arange(min(n, len(rows))), program.encoded)


# --- laws


@pytest.mark.parametrize("fusion", ["lf-lstm", pytest.param("lmf", marks=pytest.mark.slow)])
def test_it_keeps_its_promises(fusion):
    """Of these two the weights can be put into a program whose modalities come in the opposite order."""
    rows = small_series(rows=20, steps=3)
    check_program(MDM, data=rows, fusion=fusion, text="watch", penalty="nwj", critic_width=8, move=by_names)


def by_names(program, other):
    """Weights into the program of the opposite order: what sees the modalities side by side has its columns turned."""
    weights, sizes = program.state_dict(), [(64, name) for name in program.encoded]
    for key in list(weights):
        if key == "fusion.head.0.weight":
            columns = dict(zip(program.encoded, weights[key].split([n for n, _ in sizes], 1)))
            weights[key] = torch.cat([columns[name] for name in other.encoded], 1)
        elif key == "bound.critic.network.0.weight":
            flags = weights[key][:, -len(program.encoded) :]
            at = [program.encoded.index(name) for name in other.encoded]
            weights[key] = torch.cat([weights[key][:, : -len(at)], flags[:, at]], 1)
        elif key == "expert_calibration":
            weights[key] = weights[key].flip(0)
    other.load_state_dict(weights)


@pytest.mark.parametrize("critic_on", ["fused", "unimodal"])
@pytest.mark.parametrize("fusion", NETWORKS)
def test_nothing_under_a_mask_or_beyond_a_length_matters(fusion, critic_on):
    if critic_on == "unimodal" and fusion not in EMBEDDED:
        pytest.skip("has no embeddings")
    found = []
    for filler in (0.0, math.nan, 1e30):
        rows = data(filler=filler)
        program = made(rows, fusion=fusion, penalty="dv", critic_on=critic_on)
        torch.manual_seed(1)
        terms = program.objective(batch_of(rows, program))
        slopes = torch.autograd.grad(terms.loss, list(program.parameters()), allow_unused=True)
        found.append([terms.loss, *(s for s in slopes if s is not None)])
    assert found[0][0].isfinite()
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))


# --- the loss


@pytest.mark.parametrize("critic_on", ["fused", "unimodal"])
@pytest.mark.parametrize("fusion", NETWORKS)
def test_the_loss_is_that_written_by_hand(fusion, critic_on, float64):
    """Σ |y − ŷ| / b + ln 2b − λ (mean T − mean e^(T − 1)), values and gradients; a row without anything counts
    nowhere, and one with a single modality not in the bound. The critic descends −bound."""
    if critic_on == "unimodal" and fusion not in EMBEDDED:
        pytest.skip("has no embeddings")
    rows = data()
    program = made(rows, fusion=fusion, penalty="nwj", penalty_weight=0.3, critic_on=critic_on).double().eval()
    batch = batch_of(rows, program)
    batch.values.update({name: value.double() for name, value in batch.values.items()})
    terms = program.objective(batch)
    seen = batch.seen
    features, steps = program.steps(batch)
    z = program.fusion(features, steps)
    known = seen.any(-1)
    predicted = program.decoders["score"](z).squeeze(-1)[known]
    scale = scale_of(program)
    nll = ((batch.values["score"][known] - predicted).abs() / scale + (2 * scale).log()).sum() / len(seen)
    source = program.shuffle(seen)
    if critic_on == "fused":
        other = program.code(shuffled(batch, program.encoded, source))
        vectors = [z], [other]
    else:
        own = program.fusion.fuse_embedded(features, steps)[1]
        vectors = list(own.values()), [h[rows] for h, rows in zip(own.values(), source)]
    both = seen.all(-1)
    joint, product = (program.bound.critic(v, seen)[both] for v in vectors)
    bound = joint.mean() - (product - 1).exp().mean()
    torch.testing.assert_close(terms["nll.score"][0], nll, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(terms["tc.nwj"][0], bound, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(terms.loss, nll - 0.3 * bound, rtol=1e-10, atol=1e-12)
    critic = list(program.bound.critic.parameters())
    theirs = {id(p) for p in critic}
    ours = [p for p in program.parameters() if id(p) not in theirs]
    wanted = torch.autograd.grad(nll - 0.3 * bound, ours, retain_graph=True, allow_unused=True)
    wanted += torch.autograd.grad(-bound, critic, retain_graph=True)
    step = Step(program, groups=plan_stages(program, 1)[0].groups, replay=False)
    step(batch)
    for parameter, slope in zip([*ours, *critic], wanted):
        if slope is not None:
            torch.testing.assert_close(parameter.grad, slope, rtol=1e-9, atol=1e-12)


def scale_of(program):
    """b of the Laplace, in the units of the model, from its density at its own median."""
    m = program.modality("score")
    middle = torch.zeros(1, 1, dtype=torch.float64)
    return (-m.family(m, middle).log_prob(torch.zeros(1, dtype=torch.float64))).exp().squeeze() / 2


def test_a_sham_moves_the_critic_alone():
    """With weight 0, no bit of the rest depends on how fast the critic moves, nor on there being one."""
    rows = data()
    runs = [
        fit("mdm", rows, hyper=dict(fusion="lmf") | hyper, seed=0, **TINY)
        for hyper in (
            dict(),
            dict(penalty="nwj", penalty_weight=0.0, critic_lr=1e-4),
            dict(penalty="nwj", penalty_weight=0.0, critic_lr=0.1),
            dict(penalty="nwj", penalty_weight=5.0),
        )
    ]
    without, slow, fast, loud = (run.program.state_dict() for run in runs)
    own = [key for key in without if key.startswith(("fusion", "decoders", "likelihood"))]
    assert all(torch.equal(slow[key], fast[key]) for key in own)
    assert any(not torch.equal(slow[key], loud[key]) for key in own)
    critics = [key for key in slow if key.startswith("bound.critic")]
    assert critics and all(not torch.equal(slow[key], fast[key]) for key in critics if key.endswith("weight"))


@pytest.mark.parametrize(
    "hyper",
    [
        dict(penalty="wasserstein"),
        dict(penalty="wasserstein", critic_lipschitz="clip", critic_dropout=0.4),
        dict(penalty="js", critic_steps=2, fusion="tfn", configuration="zadeh2017"),
        dict(penalty="chi2", critic_on="unimodal", fusion="mfn"),
        dict(penalty="smile", fusion="tfn", width=9, critic_on="unimodal"),
        dict(penalty="infonce", fusion="ef-lstm", critic_sigmoid=True),
    ],
    ids=str,
)
def test_fits_with_penalties(hyper):
    run = fit("mdm", data(), hyper=hyper, **TINY)
    last = run.metrics[-1]
    assert f"tc.{hyper['penalty']}" in last["valid"] and math.isfinite(last["loss"]["train"])
    answer = run.query(data(), want="score", rows=slice(4))["score"]
    assert np.isfinite(answer["mean"]).all()


def test_presets_are_settings_of_it():
    rows = data()
    for name in MDM.presets:
        run = fit("mdm", rows, preset=name, epochs=1)
        assert len(run.metrics) == 1 and math.isfinite(run.metrics[0]["loss"]["train"])


class StopIn(Callback):
    def on_step(self, fit, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt


def test_a_stopped_fit_goes_on_to_the_same_bits(tmp_path):
    rows, how = data(), dict(hyper=dict(fusion="lmf", penalty="dv"), epochs=3, batch_size=16)
    whole = fit("mdm", rows, **how)
    with pytest.raises(KeyboardInterrupt):
        fit("mdm", rows, out=tmp_path / "run", callbacks=[StopIn()], **how)
    fit("mdm", rows, out=tmp_path / "run", resume=True, **how)
    wanted, found = (run.program.state_dict() for run in (whole, Run.load(tmp_path / "run")))
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[key], found[key]) for key in wanted)


def recorded(rows, **hyper):
    """What four steps leave without and with a recording, the step, and what it said."""
    found, said = [], []
    for replay in (False, True):
        program = made(rows, **hyper).train()
        step = Step(program, groups=plan_stages(program, 1)[0].groups, replay=replay, log=said.append)
        optimiser = torch.optim.Adam(program.parameters(), 1e-2, fused=True)
        torch.manual_seed(2)
        for i in range(4):
            step(rows.batch(torch.arange(16) + 4 * i, program.encoded))
            optimiser.step()
        found.append([*program.parameters(), *program.buffers()])
    return found, step, said


def test_a_step_that_cannot_be_recorded_says_so():
    """The number of steps that exist differs from batch to batch."""
    (one, other), step, said = recorded(data(), penalty="nwj")
    assert step.recorded is None and all(torch.equal(a, b) for a, b in zip(one, other))
    assert len(said) == 1 and said[0].startswith("MDM runs step by step, not as a recorded graph: ")


@pytest.mark.parametrize("fusion", ["lmf", pytest.param("tfn", marks=pytest.mark.slow)])
def test_vectors_are_recorded_with_the_bits_of_single_steps(fusion):
    found = {name: arrays()[name][:, 0] for name in ("text", "audio")} | {"score": arrays()["score"]}
    rows = read(found, as_={"score": "laplace:role=label"})
    (one, other), step, said = recorded(rows, fusion=fusion, penalty="dv", critic_on="unimodal")
    assert step.recorded is not None and not said
    assert all(torch.equal(a, b) for a, b in zip(one, other))


# --- questions


@pytest.fixture(scope="module")
def both():
    """A fit with a number and a class as labels."""
    return fit("mdm", data(label="both"), hyper=dict(penalty="nwj"), **TINY)


def test_labels_of_two_kinds_together(both):
    assert both.program.targets() == ("score", "kind") and {"nll.score", "nll.kind"} <= set(both.metrics[-1]["train"])
    answer = both.query(data(label="both"), want=["score", "kind"], rows=slice(5))
    np.testing.assert_allclose(answer["kind"]["prob"].sum(-1), 1, rtol=1e-5)
    assert answer["score"]["mean"].shape == (5,)
    assert {"mae.score", "error.kind"} <= set(both.evaluate(data(label="both"))["metrics"])


def test_what_lies_under_a_dropped_modality_does_not_matter(both):
    how = dict(given="audio", want=["score", "kind", "z"], split="all", rows=slice(10))
    rows = [arrays(label="both") for _ in range(2)]
    rows[1]["text"] = rows[1]["text"] * 7 + 1e6
    answers = [both.query(one, **how) for one in rows]
    for name in how["want"]:
        for key, value in answers[0][name].items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, answers[1][name][key]), (name, key)
    assert not np.array_equal(answers[0]["z"]["mean"], both.query(rows[0], **how | dict(given="text"))["z"]["mean"])


def test_given_nothing_z_is_the_prior(both):
    """Of 2,000 draws the standard errors are .022 and .016; five of each."""
    z = both.query(data(label="both"), given=[], want="z", draws=2000, rows=slice(2))["z"]
    assert np.abs(z["mean"]).max() < 0.12 and np.abs(z["std"] - 1).max() < 0.08


def test_there_is_no_evidence_and_no_answer_about_modalities(both):
    with pytest.raises(UsageError, match="evidence"):
        both.query(data(label="both"), want="evidence")
    with pytest.raises(UsageError, match="audio"):
        both.query(data(label="both"), given="text", want="audio")


def test_scores_of_the_critic(both):
    rows = data(label="both")
    batch = batch_of(rows, both.program)
    with torch.no_grad():
        aligned, permuted, counts = both.program.dependence_scores(batch)
        code, joint, product = both.program.told_apart(batch)
        bound = both.program.bound(joint, product, batch.seen, counts)
    assert torch.equal(code, joint[0])
    assert torch.equal(counts, batch.seen.sum(-1) == 2)
    by_hand = aligned[counts].mean() - (permuted[counts] - 1).exp().mean()
    torch.testing.assert_close(bound, by_hand, rtol=1e-5, atol=1e-6)
    assert made(rows).dependence_scores(batch) is None


# --- MAG


@pytest.mark.parametrize("family", ["bert", "xlnet"])
def test_mag_reads_word_pieces_as_they_are(family, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="pip install mmppl[text]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = getattr(tiny_transformers, family)(tmp_path)
    said = [tiny_transformers.SENTENCE, ["good"], ["bad", "movie"], ["movie"]] * 6
    rng = np.random.default_rng(0)
    found = align_words(said, folder) | {
        "audio": rng.normal(size=(24, 3, 2)), "length_audio": np.array([3, 1, 2, 1] * 6), "score": rng.normal(size=24),
    }  # fmt: skip
    hyper = dict(fusion=f"mag-{family}", model=folder, penalty="nwj", beta=0.25, dropout=0.125)
    as_ = {"score": "normal:role=label"}
    with pytest.raises(UsageError, match=r"codes of word pieces, and text comes as 'standardise'; .*transform=none"):
        fit("mdm", read(found, as_=as_), hyper=hyper, **TINY)
    rows = read(found, as_=as_ | {"text": "normal:transform=none"})
    run = fit("mdm", rows, hyper=hyper, out=tmp_path / "run", **TINY)
    gate = run.program.fusion.gate
    assert (gate.beta, gate.dropout.dropped) == (0.25, 32)
    answer = Run.load(tmp_path / "run").query(rows, given="audio", want="score", rows=slice(3))["score"]
    assert np.array_equal(answer["mean"], run.query(rows, given="audio", want="score", rows=slice(3))["score"]["mean"])


# --- what is refused


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        (dict(fusion="mfm"), "no fusion network 'mfm'.* Did you mean mfn"),
        (dict(fusion="mfn", configuration="mea"), "no configuration 'mea' of mfn; there are mae, accuracy.*mean mae"),
        (dict(configuration="mae"), "of lf-lstm, and it has none; leave it out"),
        (dict(model="bert"), "lf-lstm has no model to choose; leave it out"),
        (dict(pretrained=False), "lf-lstm has no pretrained to choose"),
        (dict(fusion="mfn", beta=0.2), "mfn has no beta to choose"),
        (dict(dropout=1.5), "dropout=1.5 is not between 0 and 1"),
        (dict(text="txt"), "no modality 'txt' for text.*mean text"),
        (dict(penalty_weight=-0.1), "penalty_weight=-0.1 is negative"),
        (dict(limit=-1.0), "limit=-1.0 is negative"),
        (dict(penalty="dv", fusion="ef-lstm", critic_on="unimodal"), "ef-lstm has no vector of each.*critic_on=fused"),
        (dict(penalty="wasserstein", critic_dropout=0.4), "dropout stretches .* set it to 0"),
        (dict(penalty="dv", critic_layers=0), "layers 0"),
    ],
    ids=str,
)
def test_what_is_refused(hyper, says):
    with pytest.raises(UsageError, match=says):
        made(data(), **hyper)


@pytest.mark.parametrize("fusion", ["ef-lstm", "mfn"])
def test_unequal_steps_are_refused_in_a_line(fusion):
    with pytest.raises(UsageError, match=rf"{fusion} reads all .* \(text 4, audio 6\); align them, or set fusion=lf-"):
        fit("mdm", data(lengths=(4, 6)), hyper=dict(fusion=fusion), **TINY)
    fit("mdm", data(lengths=(4, 6)), hyper=dict(fusion="lf-lstm"), **TINY)


def test_data_that_it_cannot_learn_from():
    one = {name: value for name, value in arrays().items() if "audio" not in name}
    rows = read(one, as_={"score": "laplace:role=label"})
    assert made(rows).bound is None
    with pytest.raises(UsageError, match="penalty=dv needs two modalities, and there is one; leave it out"):
        made(rows, penalty="dv")
    with pytest.raises(UsageError, match="predicts labels and the data have none; name one"):
        MDM([m for m in rows.modalities if m.role != "label"])
    with pytest.raises(UsageError, match="no modality to fuse; name at least one"):
        MDM([m for m in rows.modalities if m.role == "label"])
    assert mmppl.load_program("mdm").default_data == "digits-sequences"
