"""Factors: exact posterior, predictive and evidence in a world with a closed form; fits; labels; what is taken when no
program is named."""

import shutil
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from reference.linear_gaussian import World

from mmppl import Callback, DataError, Run, UsageError, fit, load_program, read
from mmppl.inference.query import ask
from mmppl.testing.linear_gaussian import batch_of

FACTORS = load_program("factors")
SIZES = {"a": 4, "b": 3, "c": 5}
SUBSETS = [list(s) for k in (1, 2, 3) for s in combinations(SIZES, k)]


def exact(world):
    """The program with the weights of a world whose noise is the schema's."""
    program = FACTORS(world.modalities(), latent_dim=world.latent).double().eval()
    with torch.no_grad():
        for name, weight in world.weights.items():
            program.decoders[name].weight.copy_(weight)
            program.decoders[name].bias.copy_(world.offsets[name])
    return program


@pytest.mark.parametrize("given", SUBSETS, ids="+".join)
@pytest.mark.usefixtures("float64")
def test_posterior_predictive_and_evidence_are_exact(given):
    """With any loadings, of which no product of diagonal experts is the posterior; none of it has Monte-Carlo error."""
    world = World.make(SIZES, 3, orthogonal=False)
    data, program = world.sample(6), exact(world)
    rest = [name for name in SIZES if name not in given]
    mean, covariance = world.posterior(data.values, given)
    q = program.posterior(batch_of(data, program.encoded).seeing(given))
    torch.testing.assert_close(q.mean, mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(q.covariance, covariance.expand(6, 3, 3), rtol=0, atol=1e-10)
    answer = ask(program, data, given=given, want=["z", "evidence", *rest], draws=5)
    nats = world.log_evidence(data.values, list(SIZES) if rest else given)
    nats = nats - (world.log_evidence(data.values, given) if rest else 0)
    torch.testing.assert_close(torch.from_numpy(answer["evidence"]["nats"]), nats, rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"]), mean, rtol=0, atol=1e-10)
    for name in rest:
        expected, variance = world.predictive(data.values, given, name)
        found = {key: torch.from_numpy(value) for key, value in answer[name].items()}
        torch.testing.assert_close(found["mean"], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(found["std"].square(), variance.expand_as(expected), rtol=0, atol=1e-10)
        high = expected + variance.sqrt() * torch.special.ndtri(torch.tensor(0.95))
        torch.testing.assert_close(found["q95"], high, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_single_features_may_be_missing():
    world = World.make(SIZES, 2, orthogonal=False)
    data, program = world.sample(8), exact(world)
    batch = batch_of(data, program.encoded).seeing(["a", "b"])
    known = torch.rand(8, 4) < 0.5
    q = program.posterior(batch, {"a": known})
    for row in range(8):
        part = World(dict(world.weights), dict(world.offsets), world.sds)
        part.weights["a"], part.offsets["a"] = world.weights["a"][known[row]], world.offsets["a"][known[row]]
        values = {name: x[row : row + 1] for name, x in data.values.items()}
        values["a"] = values["a"][:, known[row]]
        mean, covariance = part.posterior(values, ["a", "b"])
        torch.testing.assert_close(q.mean[row], mean[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(q.covariance[row], covariance, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def arrays():
    """Three views of five factors, 30 % of the blocks missing, and a label that the first factor decides."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 5))
    x = {
        name: z @ rng.normal(size=(5, d)) + 0.5 * rng.normal(size=(400, d))
        for name, d in (("a", 6), ("b", 8), ("c", 5))
    }
    for name in x:
        x[name][rng.random(400) < 0.3] = np.nan
    x["label"] = np.where(z[:, 0] > 0, "high", "low")
    x["split"] = np.repeat([0, 1, 2], [280, 20, 100])
    return x


@pytest.fixture(scope="module")
def data(arrays):
    return read(arrays)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return fit("factors", data, out=tmp_path_factory.mktemp("runs") / "run")


def test_intervals_cover_and_prediction_is_near_the_best(run, data, arrays):
    """Coverage of about 70 × 3 × 6 values, dependent within a row: .9 ± .05."""
    test = data.take(data.rows("test"))
    inside, error, spread = [], [], []
    for name in ("a", "b", "c"):
        answer = run.query(test, given=[n for n in "abc" if n != name], want=name, split="all")[name]
        truth, seen = arrays[name][300:], ~np.isnan(arrays[name][300:, 0])
        inside.append(((answer["q05"] < truth) & (truth < answer["q95"]))[seen].ravel())
        error.append((answer["mean"] - truth)[seen].ravel())
        spread.append((truth - np.nanmean(arrays[name][:280], 0))[seen].ravel())
    assert 0.85 < np.concatenate(inside).mean() < 0.95
    assert np.square(np.concatenate(error)).mean() < 0.35 * np.square(np.concatenate(spread)).mean()


def test_the_label_is_told_from_any_subset(run, data, arrays):
    test = data.take(data.rows("test"))
    truth = arrays["label"][300:]
    for given in (["a"], ["b"], ["a", "b", "c"]):
        answer = run.query(test, given=given, want="label", split="all")["label"]
        seen = np.any([~np.isnan(arrays[name][300:, 0]) for name in given], 0)
        assert (answer["predicted"] == truth)[seen].mean() > 0.8
        np.testing.assert_allclose(answer["prob"].sum(-1), 1, rtol=1e-5)


def test_everything_is_answered_given_anything(run):
    for given in ("", "a", "label", "a,b,c", "b,label"):
        want = [name for name in ("a", "b", "c", "label") if name not in given.split(",")]
        answer = run.query(given=given, want=["z", "evidence", *want], draws=4, rows=slice(3))
        for name in want:
            assert np.isfinite(answer[name]["prob" if name == "label" else "std"]).all()


def test_a_killed_fit_ends_in_the_same_bits(run, data, tmp_path):
    class Stop(Callback):
        def on_epoch(self, fit, line):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("factors", data, out=tmp_path / "run", callbacks=[Stop()])
    again = fit("factors", data, out=tmp_path / "run", resume=True)
    for name, weight in run.program.state_dict().items():
        assert torch.equal(weight, again.program.state_dict()[name]), name


def test_a_run_is_loaded_with_its_answers(run, data, tmp_path):
    moved = Run.load(shutil.copytree(run.folder, tmp_path / "moved"))
    one, again = (r.query(data, given="a", want=["b", "label"], rows=slice(5)) for r in (run, moved))
    np.testing.assert_array_equal(one["b"]["mean"], again["b"]["mean"])
    np.testing.assert_array_equal(one["label"]["prob"], again["label"]["prob"])


def test_two_scalar_columns_keep_their_line():
    """y = 3 + 2 x with noise .2 where x has sd 10, and gaps: unit noise would give a third of the slope."""
    rng = np.random.default_rng(22)
    x = rng.normal(50, 10, 800)
    y, gap = 3 + 2 * x + 0.2 * rng.normal(size=800), rng.random(800)
    split = np.repeat([0, 1, 2], [560, 80, 160])
    holes = {
        "x": np.where((gap < 0.3) & (split < 2), np.nan, x),
        "y_mm": np.where((gap > 0.7) & (split < 2), np.nan, y),
    }
    answer = fit(data={**holes, "split": split}).query(given="x", want="y_mm", split="test")["y_mm"]
    assert abs(np.polyfit(x[640:], answer["mean"].ravel(), 1)[0] - 2) < 0.05
    assert abs(answer["std"].mean() - 0.2) < 0.03


def test_other_likelihoods_have_decoders_of_their_own():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    pixels = (rng.random((300, 12)) < 1 / (1 + np.exp(-2 * z @ rng.normal(size=(2, 12))))).astype(float)
    numbers = z @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(300, 4))
    run = fit("factors", {"pixels": pixels, "numbers": numbers, "split": np.repeat([0, 2], [240, 60])})
    assert run.program.modality("pixels").likelihood == "bernoulli"
    found = run.query(given="numbers", want="pixels", split="test")["pixels"]["mean"].clip(1e-6, 1 - 1e-6)
    truth, rate = pixels[240:], pixels[:240].mean(0)

    def nats(p):
        return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()

    assert nats(found) < nats(rate) - 0.1


def test_no_program_is_named():
    lines = []
    x = np.random.default_rng(0).normal(size=(40, 3))
    run = fit(data={"a": x, "b": x[:, :2] + 1}, log=lambda line: lines.append(str(line)))
    assert run.record.program.name == "factors"
    assert any("No program is named: factors" in line for line in lines)
    with pytest.raises(UsageError, match="name a program or data"):
        fit()


@pytest.mark.parametrize("rows", [1, 2])
def test_one_row_is_refused_and_two_are_enough(rows):
    arrays = {"a": np.arange(9.0).reshape(3, 3), "b": np.ones((3, 2)), "split": np.repeat([0, 2], [rows, 3 - rows])}
    if rows == 1:
        with pytest.raises(DataError, match="one training row"):
            fit("factors", arrays)
    else:
        assert np.isfinite(fit("factors", arrays).query(given="a", want="b", split="all")["b"]["mean"]).all()


def test_rows_without_anything_are_left_out_and_get_the_prior(arrays):
    holes = {name: x.copy() for name, x in arrays.items()}
    for name in "abc":
        holes[name][[0, 390]] = np.nan
    lines = []
    run = fit("factors", holes, log=lambda line: lines.append(str(line)))
    gone = int(np.all([np.isnan(holes[name][:280, 0]) for name in "abc"], 0).sum())
    assert any(f"{gone} of 280 train rows lack" in line for line in lines)
    answer = run.query(holes, want="z", rows=slice(390, 391), split="all")["z"]
    np.testing.assert_allclose(answer["std"], 1, atol=1e-6)


def test_copied_columns_are_told(arrays):
    lines = []
    a = np.concatenate([arrays["a"], arrays["a"][:, :1]], 1)
    run = fit("factors", {**arrays, "a": a}, log=lambda line: lines.append(str(line)))
    assert any("2 features are explained without noise" in line for line in lines)
    assert all(parameter.isfinite().all() for parameter in run.program.parameters())


def test_the_order_of_modalities_is_irrelevant_to_what_is_found(arrays):
    one, other = (fit("factors", dict(chain(items))) for items in (arrays.items(), reversed(arrays.items())))
    answers = [r.query(given="a,b", want="c", rows=slice(20))["c"]["mean"] for r in (one, other)]
    np.testing.assert_allclose(*answers, rtol=0.02, atol=0.02)
