"""Queries: keyed noise, units, quantiles, what is refused, what is written."""

import csv
import dataclasses
import re

import numpy as np
import pytest
import torch
from reference.linear_gaussian import World, exact_mvae

import mmppl
from mmppl import UsageError, fit, load_program, read
from mmppl.bench.harness import peak_memory
from mmppl.inference.keyed_noise import uniforms
from mmppl.inference.memory import chunk
from mmppl.inference.predictive import PredictiveAccumulator, quantile, resample
from mmppl.inference.query import _blank, ask
from mmppl.modalities.likelihoods.registry import LIKELIHOODS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(
        "mvae",
        read("digits-three").mask_at_random(rate=0.3),
        hyper={"hidden": 16, "latent_dim": 3},
        epochs=1,
        out=tmp_path_factory.mktemp("q") / "r",
    )


@pytest.fixture
def small_chunks(monkeypatch):
    """Makes chunks small; the list of what they were."""
    made = []

    def shrink(work):
        def small(*arguments):
            made.append(chunk(*arguments))
            return made[-1]

        monkeypatch.setattr("mmppl.inference.memory.WORK", work)
        monkeypatch.setattr("mmppl.inference.query.chunk", small)
        return made

    return shrink


@pytest.mark.parametrize("method", ["guide", pytest.param("importance", marks=pytest.mark.slow)])
def test_slicing_chunking_and_reordering_change_rounding_only(run, method, small_chunks):
    data = run.fitted_on
    rows = data.rows("test")[:20]
    options = {"want": ["z", "image", "label", "evidence"], "draws": 30, "method": method}
    whole = ask(run.program, data.take(rows), **options)
    shuffled = ask(run.program, data.take(rows.flip(0)), **options)
    made = small_chunks(100_000)
    single = ask(run.program, data.take(rows[3:5]), **options)
    assert made[0].rows == 1 and 2 < made[0].draws < 20
    for name, parts in whole.want.items():
        for key, value in parts.items():
            if key in ("classes", "predicted"):
                continue
            for other, mine in ((shuffled, slice(None, None, -1)), (single, slice(3, 5))):
                np.testing.assert_allclose(other[name][key], value[mine], rtol=2e-4, atol=2e-5, err_msg=f"{name} {key}")
    assert (
        whole["z"]["mean"] != ask(run.program, data.take(rows), **options | {"seed": 1})["z"]["mean"]
    ).any() or method == "guide"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["guide", "importance"])
@pytest.mark.parametrize("name", ["mvae", *(pytest.param(n, marks=pytest.mark.slow) for n in ("mopoe", "mmvae"))])
def test_a_thousand_draws_in_one_chunk_or_in_many(name, method, small_chunks):
    """Moments, quantiles, draws and evidence; in double precision rounding is near 1e-15."""
    world = World.make({"a": 4, "b": 3}, 2, orthogonal=False)
    data, program = world.sample(3), exact_mvae(world, name)
    options = dict(want=["z", "b", "evidence"], given=["a"], draws=1000, method=method, keep_draws=True)
    whole = ask(program, data, **options)
    made = small_chunks(100_000)
    parts = ask(program, data, **options)
    assert made[0].rows == 1 and made[0].draws < 100
    for thing in whole.want:
        for key, value in whole[thing].items():
            np.testing.assert_allclose(parts[thing][key], value, rtol=1e-11, atol=1e-12, err_msg=f"{thing} {key}")


@pytest.mark.slow
def test_memory_stays_below_what_was_allowed():
    """2,000 draws of 3,000 features would be 24 MB; half of it must do, unless all draws are needed at once."""
    torch.manual_seed(0)
    modalities = [mmppl.Modality("a", (3000,), "normal"), mmppl.Modality("b", (20,), "normal")]
    program = load_program("mvae")(modalities, hidden=8, latent_dim=2).eval()
    rng = np.random.default_rng(0)
    data = read({"a": rng.normal(size=(2, 3000)), "b": rng.normal(size=(2, 20))}).take(torch.arange(1))
    memory = 12_000_000
    options = dict(given=["b"], draws=2000, memory=memory)
    for method in ("guide", "importance"):
        question = dict(want=["a", "z", "evidence"], quantiles=(), method=method)
        # The least of three: pages that the system takes back from this process and returns meanwhile only add.
        taken = min(peak_memory(lambda question=question: ask(program, data, **question, **options)) for _ in range(3))
        assert taken < memory, (taken, method)
    with pytest.raises(UsageError, match=r"one row with 2,000 draws takes \d\d MB, and memory is 12 MB"):
        ask(program, data, want=["a"], **options)
    assert ask(program, data, want=["a"], **options | {"memory": 80_000_000})["a"]["q50"].shape == (1, 3000)
    for wrong in (0, -5):
        with pytest.raises(UsageError, match="bytes of memory"):
            ask(program, data, want=["a"], memory=wrong)


def test_half_precision_of_the_products_alone(run):
    """bfloat16 has 8 bits: numbers to about 1 %, nats to about that share of what a row's features sum up to."""
    options = dict(want=["z", "image", "label", "evidence"], draws=40, rows=slice(0, 10))
    fine, coarse = run.query(**options), run.query(**options, precision="bf16")
    assert coarse["z"]["mean"].dtype == fine["z"]["mean"].dtype == np.float32
    for name in ("z", "image"):
        np.testing.assert_allclose(coarse[name]["mean"], fine[name]["mean"], rtol=0.05, atol=0.05)
    np.testing.assert_allclose(coarse["label"]["prob"], fine["label"]["prob"], atol=0.05)
    np.testing.assert_allclose(coarse["evidence"]["nats"], fine["evidence"]["nats"], rtol=0.02, atol=0.5)
    with pytest.raises(UsageError, match="query: precision fp8: choose from fp32, bf16"):
        run.query(want=["z"], precision="fp8")


@pytest.mark.usefixtures("float64")
def test_evidence_is_a_density_of_the_input():
    """Standardised modalities: ln p in model units less Σ ln spread; the mean comes back in the input's units."""
    world = World.make({"a": 3, "b": 2}, 2, orthogonal=True)
    data, program = world.sample(4), exact_mvae(world)
    plain = ask(program, data, want=["evidence", "a"], given=["b"], draws=8)
    scaled = [
        dataclasses.replace(m, transform="standardise", shift=(1.0,) * m.size, spread=(3.0,) * m.size)
        for m in program.modalities
    ]
    program.modalities = tuple(scaled)
    found = ask(program, data, want=["evidence", "a"], given=["b"], draws=8)
    np.testing.assert_allclose(found["evidence"]["nats"], plain["evidence"]["nats"] - 3 * np.log(3))
    np.testing.assert_allclose(found["a"]["mean"], 1 + 3 * plain["a"]["mean"])
    np.testing.assert_allclose(found["a"]["std"], 3 * plain["a"]["std"])
    np.testing.assert_allclose(found["a"]["q95"], 1 + 3 * plain["a"]["q95"])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("how", ["normal", "laplace", "bernoulli"])
def test_evidence_of_an_image_is_in_its_units(how):
    """A density of x/255 is one of x less size · ln 255; a Bernoulli's is none."""
    image = torch.randint(256, (5, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    data = read({"im": image, "b": np.arange(10.0).reshape(5, 2)}, as_={"im": how})
    assert data.modalities[0].transform == "image"
    found = data.modalities[0].log_jacobian(data.values["im"])
    np.testing.assert_allclose(found.numpy(), np.full(5, 0.0 if how == "bernoulli" else -4 * np.log(255)))


@pytest.mark.usefixtures("float64")
def test_evidence_of_nothing_is_nothing():
    """Of a row without the target: ln p(nothing | given) = 0, exactly, whatever the guide is worth there."""
    world = World.make({"a": 3, "b": 2}, 2, orthogonal=True)
    data, program = world.sample(4), exact_mvae(world)
    observed = dict(data.observed) | {"a": torch.tensor([True, False, True, False])}
    found = ask(program, dataclasses.replace(data, observed=observed), want=["evidence", "a"], given=["b"], draws=50)
    nats, se, khat, ess = (found["evidence"][part] for part in ("nats", "se", "khat", "ess"))
    assert (nats[1::2] == 0).all() and (se[1::2] == 0).all() and (nats[::2] != 0).all()
    assert (khat[1::2] == 0).all() and (ess[1::2] == 50).all() and np.isfinite(khat).all()


def test_one_draw_has_no_standard_error(run):
    found = run.query(want=["evidence"], rows=slice(0, 3), draws=1)["evidence"]
    assert np.isfinite(found["nats"]).all() and np.isnan(found["se"]).all() and np.isnan(found["khat"]).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("transform", ["standardise", "log1p"])
def test_evidence_of_a_column_of_numbers(transform):
    """The same as of an array of one feature."""
    world = World.make({"a": 1, "b": 2}, 2, orthogonal=True)
    data, program = world.sample(4), exact_mvae(world)
    column, other = program.modalities
    units = dict(transform=transform, shift=(1.0,), spread=(3.0,))
    found = {}
    for shape in ((), (1,)):
        program.modalities = (dataclasses.replace(column, shape=shape, **units), other)
        shaped = dataclasses.replace(data, values=data.values | {"a": data.values["a"].reshape(4, *shape)})
        found[shape] = ask(program, shaped, want=["evidence", "a"], given=["b"], draws=8)["evidence"]["nats"]
    np.testing.assert_allclose(found[()], found[(1,)])


def test_every_quantile_has_its_own_name(run):
    found = run.query(want=["profile"], draws=20, quantiles=(0.02, 0.025, 0.5, 0.975))["profile"]
    assert list(found) == ["mean", "std", "q02", "q2.5", "q50", "q97.5"]
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="is not between 0 and 1"):
            run.query(want=["profile"], quantiles=(0.5, p))


@pytest.mark.parametrize("method", ["guide", "importance"])
def test_draws_that_nobody_reads_are_not_made(run, method, monkeypatch):
    """Without quantiles a modality's moments come from its likelihood; the latent is drawn as ever."""
    question = dict(want=["image", "word", "label"], given=["profile"], draws=7, method=method)
    with_draws = run.query(**question)
    made = []

    def counted(seed, site, *rest, **more):
        made.append(site)
        return uniforms(seed, site, *rest, **more)

    monkeypatch.setattr("mmppl.inference.keyed_noise.uniforms", counted)
    without = run.query(**question, quantiles=())
    assert set(made) == {"z"}
    for name in question["want"]:
        for key in {"mean", "std", "prob"} & set(with_draws[name]):
            assert np.array_equal(with_draws[name][key], without[name][key])


def test_quantiles_are_in_order_and_have_the_stated_coverage(run):
    answer = run.query(want=["image", "profile", "z"], draws=200, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
    for name in ("image", "profile", "z"):
        q = [answer[name][k] for k in ("q05", "q25", "q50", "q75", "q95")]
        assert all((a <= b).all() for a, b in zip(q, q[1:]))
    one = run.query(want=["image"], draws=1)["image"]
    assert (one["q05"] == one["q95"]).all()
    assert set(run.query(want=["image"], draws=5, quantiles=())["image"]) == {"mean", "std"}
    draws = torch.arange(19.0).unsqueeze(-1)
    assert quantile(draws, 0.05).item() == 0 and quantile(draws, 0.5).item() == 9 and quantile(draws, 0.95).item() == 18


def test_resampling_repeats_draws_by_their_weights():
    weights = torch.tensor([[0.5, 0.0], [0.25, 1.0], [0.25, 0.0], [0.0, 0.0]]).double()
    picked = resample(weights, 0, np.array([3, 4]))
    assert sorted(picked[:, 0].tolist()) == [0, 0, 1, 2] and picked[:, 1].tolist() == [1] * 4


def test_given_nothing_is_the_prior_and_names_are_checked(run):
    prior = run.query(given=[], want=["z", "label"], draws=4)
    assert (prior["z"]["mean"] == 0).all() and (prior["z"]["std"] == 1).all() and prior.given == []
    cases = [
        ({"want": ["lable"]}, "Did you mean label"),
        ({"want": ["label"], "given": ["imge"]}, "Did you mean image"),
        ({"want": ["image"], "given": ["label"]}, "does not see label"),
        ({"want": ["image"], "method": "hmc"}, "query: method hmc: choose from guide, importance"),
        ({"want": [], "draws": 4}, "nothing is wanted"),
        ({"want": ["z"], "draws": 0}, "at least one"),
        ({"want": ["z"], "draws": 1.5}, "draws=1.5 is not a whole number"),
        ({"want": "z", "seed": "x"}, "seed='x' is not a whole number"),
        ({"want": "z", "memory": "1 apple"}, "query: memory 1 apple: expected a size such as 500MB"),
        ({"want": "lable,z"}, "'lable' is not in this run.*Did you mean label"),
        ({"want": "z", "rows": "0:5"}, "expected a slice such as"),
        ({"want": "z", "rows": 1.5}, "expected a slice such as"),
        ({"want": "z", "rows": []}, "expected a slice such as"),
        ({"want": "z", "rows": [0, 10_000]}, r"row 10000 is out of range; test of .* has \d+ rows"),
        ({"want": "z", "rows": [True, False]}, "a mask of 2 with 1 True"),
        ({"want": "z", "rows": slice(0, 4, -1)}, "out of range"),
        ({"want": ["z"], "rows": slice(0, 10_000)}, "out of range"),
        ({"want": ["evidence"], "given": []}, "evidence of what"),
    ]
    for options, words in cases:
        with pytest.raises(UsageError, match=words):
            run.query(**options)


def test_a_label_can_be_given_to_importance(run):
    answer = run.query(given=["label"], want=["image"], method="importance", draws=50, rows=slice(0, 3))
    assert answer["image"]["mean"].shape == (3, 8, 8) and np.isfinite(answer["image"]["ess"]).all()


def test_answers_are_written_with_the_names_of_the_contract(run, tmp_path):
    answer = run.query(want=["label", "image", "evidence"], draws=30, rows=slice(0, 4), keep_draws=True)
    answer.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert {
            "id",
            "label.prob",
            "label.predicted",
            "image.mean",
            "image.std",
            "image.q05",
            "image.q50",
            "image.q95",
            "image.draws",
            "evidence.nats",
        } <= set(file)
        assert file["image.draws"].shape == (4, 30, 8, 8) and (file["id"] == answer.ids).all()
    lean = run.query(want=["label", "image"], draws=5, rows=slice(0, 4))
    lean.save(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and float(rows[0]["image.mean.63"]) == pytest.approx(float(lean["image"]["mean"][0, 7, 7]))
    assert float(rows[0]["label.prob.3"]) == pytest.approx(float(lean["label"]["prob"][0, 3]))
    with pytest.raises(UsageError, match="written as .npz"):
        lean.save(tmp_path / "a.txt")
    assert set(answer.to_json()) == {"run", "n", "given", "ids", "want", "warnings"} and "row" in answer.table()
    with pytest.raises(KeyError, match="no answer about 'lable'; there is .*label.* Did you mean label?"):
        answer["lable"]


def test_python_takes_what_the_command_line_takes(run):
    """Names with commas between them, a size in words, and rows of any kind."""
    rows = [run.query(want="z", draws=2, rows=slice(0, 12)).ids[[2, 3, 5]].tolist()]
    mask = np.zeros(len(run.fitted_on.rows("test")), bool)
    mask[[2, 3, 5]] = True
    for chosen in ([2, 3, 5], np.array([2, 3, 5]), torch.tensor([2, 3, 5]), mask, mask.tolist()):
        rows.append(run.query(want="z", draws=np.int64(2), rows=chosen).ids.tolist())
    assert all(ids == rows[0] for ids in rows)
    assert run.query(want="z", rows=2).ids.tolist() == rows[0][:1]
    assert run.query(want="z", rows=slice(3, 6, 2)).ids.tolist() == rows[0][1:]
    words = run.query(given="image, word", want="label,z", memory="1GB", rows=[2])
    names = run.query(given=["image", "word"], want=["label", "z"], rows=[2])
    assert words.given == names.given and list(words.want) == ["label", "z"]
    assert np.array_equal(words["label"]["prob"], names["label"]["prob"])
    assert run.query(given="", want="z", rows=[0]).given == []


def test_answers_that_are_not_finite_are_reported(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"gene": rng.normal(size=(40, 2)), "image": rng.random((40, 4)), "label": np.arange(40) % 2}
    run = fit("mvae", arrays, hyper={"hidden": 8, "latent_dim": 2}, epochs=1, out=tmp_path / "r")
    new = {"gene": arrays["gene"][:5].copy(), "image": arrays["image"][:5]}
    assert run.query(new, want="label,z").warnings == []
    new["gene"][3, 1] = 1e30
    for question in ({"want": "label,z"}, {"want": "image", "given": "gene"}, {"want": "evidence"}):
        answer = run.query(new, **question, draws=100)
        warning = answer.warnings[0]
        about = question["want"].replace(",", ", ")
        assert warning.startswith(f"1 of 5 rows (first id 3) have answers that are not finite, about {about}: look at")
        assert re.search(r"gene reaches [\d.]+e\+(29|30), scaled as in training", warning)
    assert np.isnan(answer["evidence"]["khat"]).tolist() == [False, False, False, True, False]
    assert run.query(new, want="label", given="image").warnings == []


def test_too_few_draws_for_khat_are_reported(run):
    for question in ({"want": "evidence"}, {"want": "label", "method": "importance"}):
        for draws in (1, 4, 24):
            (warning,) = run.query(**question, draws=draws, rows=slice(0, 3)).warnings
            assert warning.startswith(f"k̂ needs 25 or more draws, and there are {draws}")
        assert "needs 25" not in " ".join(run.query(**question, draws=25, rows=slice(0, 3)).warnings)


def test_rows_without_evidence_targets_are_reported(run):
    has = run.fitted_on.observed["image"] & ~run.fitted_on.observed["word"]
    rows = has[run.fitted_on.rows("test")].nonzero().squeeze(-1)[:3]
    answer = run.query(want="evidence,word", given="image", rows=rows, quantiles=())
    assert (answer["evidence"]["nats"] == 0).all()
    assert answer.warnings == ["3 of 3 rows have none of what the evidence is about (word): it is 0 there."]
    assert run.query(want="evidence", given="word", rows=rows).warnings == answer.warnings


def test_arrays_and_data_frames_are_queried_in_the_units_of_the_run(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a:x": 100 + 10 * rng.standard_normal(80),
            "a:y": rng.standard_normal(80),
            "label": np.repeat(["p", "q"], 40),
            "n": rng.integers(0, 500, 80),
        }
    )
    run = fit(
        "mvae",
        frame,
        as_={"n": "normal:transform=log1p"},
        hyper={"hidden": 8, "latent_dim": 2},
        epochs=2,
        out=tmp_path / "r",
    )
    new = frame.iloc[:6].drop(columns="label")
    answer = run.query(new, want=["label", "a", "n"], given=["n"], draws=20)
    assert answer.n == 6 and set(np.unique(answer["label"]["predicted"])) <= {"p", "q"}
    assert 60 < answer["a"]["mean"][:, 0].mean() < 140 and (answer["n"]["q05"] > -1).all()
    turned = run.query(new[new.columns[::-1]], want=["label", "a", "n"], given=["n"], draws=20)
    np.testing.assert_array_equal(turned["a"]["mean"], answer["a"]["mean"])
    latent, latent_turned = (run.query(f, want=["z"], given=["a"])["z"]["mean"] for f in (new, new[new.columns[::-1]]))
    np.testing.assert_array_equal(latent, latent_turned)
    with pytest.raises(mmppl.DataError, match=r"'a:why' is not in it .Did you mean a:y\?.; 'a:y' is missing"):
        run.query(new.rename(columns={"a:y": "a:why"}), want=["z"])
    answer.save(tmp_path / "a.csv")
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert {"a.mean.x", "a.q95.y", "n.mean", "label.prob.p"} <= {*header} and "a.mean.0" not in header
    assert mmppl.Run.load(tmp_path / "r").modalities == run.modalities and run.modalities[0].features == ("x", "y")
    same = run.evaluate(frame, metrics=["error"], draws=4)
    assert same["rows"] == int((read(frame).split == 2).sum())  # not its training rows


def test_a_run_without_its_data_says_so(tmp_path):
    arrays = {"a": np.random.default_rng(0).standard_normal((20, 3)), "label": np.arange(20) % 2}
    fit("mvae", arrays, hyper={"hidden": 8, "latent_dim": 2}, epochs=1, out=tmp_path / "r")
    with pytest.raises(UsageError, match="fitted on arrays"):
        mmppl.Run.load(tmp_path / "r").query(want=["z"])


def test_cmmd_refuses_what_it_cannot_answer():
    data = read("digits-two-view")
    program = load_program("cmmd")(data.modalities, hidden=8, latent_dim=2).eval()
    rows = data.take(torch.arange(3))
    with pytest.raises(UsageError, match="conditions on rotated"):
        ask(program, rows, given=["noisy"], want=["label"])
    with pytest.raises(UsageError, match="no distribution for rotated"):
        ask(program, rows, given=["rotated"], want=["rotated"])


@pytest.mark.usefixtures("float64")
def test_names_said_twice_count_once():
    world = World.make({"a": 3, "b": 2}, 2, orthogonal=True)
    data, program = world.sample(3), exact_mvae(world)
    once = ask(program, data, want=["evidence", "a"], given=["b"], draws=8)["evidence"]["nats"]
    twice = ask(program, data, want=["evidence", "a", "a"], given=["b", "b"], draws=8)["evidence"]["nats"]
    np.testing.assert_array_equal(once, twice)
    views = [mmppl.Modality("a", (3,)), mmppl.Modality("b", (2,))]
    assert load_program("cmmd")(views, observed=("a", "a")).conditions == ("a",)


def test_a_query_repeats_and_leaves_the_callers_generator():
    data = read("digits-two-view").take(torch.arange(5))
    program = load_program("cmmd")(data.modalities, hidden=8, latent_dim=2, classify="sample").eval()
    state = torch.get_rng_state()
    first, second = (ask(program, data, given=["rotated"], want=["label"], draws=6)["label"]["prob"] for _ in range(2))
    assert (first == second).all() and torch.equal(torch.get_rng_state(), state)


def test_the_baseline_of_cmmd_answers_about_labels_only(tmp_path):
    run = fit("cmmd", hyper={"hidden": 8, "latent_dim": 2, "generative": False}, epochs=1, out=tmp_path / "r")
    assert set(run.evaluate(metrics=["error"], draws=2)["metrics"]["error.label"]) == {"rotated"}
    with pytest.raises(UsageError, match="no distribution for noisy"):
        run.query(want=["noisy"])
    arrays = {"a": np.random.default_rng(0).random((20, 3)), "b": np.random.default_rng(1).random((20, 3))}
    with pytest.raises(UsageError, match="no label"):
        fit("cmmd", arrays, hyper={"generative": False}, out=tmp_path / "s")


def test_quantiles_of_a_row_do_not_depend_on_the_others():
    """Seven draws of a latent of two values, in row 1 always the same: exact there, those of the draws in row 0."""
    m = mmppl.Modality("x", (1,), "normal", scale=1.0)
    means = torch.zeros(7, 2, 1)
    means[1::2, 0] = 10.0
    value = means + 0.1 * torch.randn(means.shape, generator=torch.Generator().manual_seed(0))

    def asked(rows, chunk):
        gathered = PredictiveAccumulator(m, 7, None, hold=True)
        for first in range(0, 7, chunk):
            part = slice(first, first + chunk)
            fn = LIKELIHOODS[m.likelihood](m, means[part][:, rows])
            gathered.add({"fn": fn, "value": value[part][:, rows]}, first)
        return gathered.quantiles((0.05, 0.95))

    both = asked([0, 1], 7)
    for alone in (asked([0], 7), asked([0], 3)):
        assert both["q05"][0] == alone["q05"][0] < 1 and both["q95"][0] == alone["q95"][0] > 9
    for alone in (asked([1], 7), asked([1], 3)):
        assert both["q05"][1] == alone["q05"][0] == pytest.approx(-1.645, abs=1e-3)


@pytest.mark.parametrize("name", ["mwvae", pytest.param("mmvae", marks=pytest.mark.slow)])
def test_the_error_of_conditional_evidence_knows_that_both_estimates_share_their_noise(name):
    """Standard deviation over 60 seeds against the stated error, 16 rows: the median ratio within 0.8 and 1.25 (its own
    standard error is about 0.03; as if they were independent it is 0.63)."""
    rng = np.random.default_rng(0)
    data = read({name: rng.standard_normal((16, 2)) for name in "abc"})
    torch.manual_seed(1)
    program = load_program(name)(data.modalities, latent_dim=1, hidden=6).eval()
    asked = [
        ask(program, data, given=["a", "b"], want=["evidence", "c"], draws=1000, seed=seed)["evidence"]
        for seed in range(60)
    ]
    spread = np.std([one["nats"] for one in asked], 0, ddof=1)
    assert 0.8 < np.median(spread / np.nanmean([one["se"] for one in asked], 0)) < 1.25


def test_left_out_rows_and_unfinished_fits_are_reported(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(60, 2)), "b": rng.normal(size=(60, 2))}
    run = fit("mvae", arrays, hyper={"hidden": 8}, epochs=1, out=tmp_path / "run")
    answer = run.query(arrays, given="a", want="b")
    assert answer.n < 60 and answer.warnings == [
        f"{60 - answer.n} train and valid rows of arrays were not asked (--split all)."
    ]
    assert run.query(arrays, given="a", want="b", split="test").warnings == []
    assert run.query(given="a", want="b").warnings == []
    other = {name: array + 1 for name, array in arrays.items()}
    assert run.query(other, given="a", want="b").n == 60
    run.record = dataclasses.replace(run.record, status="running")
    (warning,) = run.query(other, given="a", want="b").warnings
    assert "the fit is not finished" in warning and "--resume" in warning


def test_marks_of_steps_that_do_not_exist_stay_marks():
    present = np.array([[True, True], [True, False]])
    parts = {"mean": np.ones((2, 2, 1)), "imputed": np.ones((2, 2, 1), bool), "predicted": np.ones((2, 2, 1), int)}
    _blank(parts, present, np.ones(2, bool))
    assert parts["imputed"].dtype == bool and parts["imputed"][..., 0].tolist() == present.tolist()
    assert np.isnan(parts["mean"][1, 1, 0]) and parts["predicted"][1, 1, 0] == -1
