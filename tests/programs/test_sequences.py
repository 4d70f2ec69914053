"""Sequences in programs: what does not exist matters nowhere, from the loss to answers and metrics."""

import numpy as np
import pytest
import torch
from torch import nn

import mmppl
from mmppl import Batch, Modality, UsageError, fit, load_program
from mmppl.core.loading import default_program
from mmppl.core.observe import observe
from mmppl.core.row_selection import SelectedRows, SelectedSubsets, Selection
from mmppl.testing import check_program, laws
from mmppl.testing.samples import overwritten, small_series

PROGRAMS = [
    "mvae",
    "mopoe",
    "mmvae",
    "jmvae",
    "mwvae",
    "fmwvae",
    "ima",
    "dae",
    "mmjsd",
    "mvtcae",
    "vcca",
    "dcca",
    "cmmd",
]
SLOW = (
    "mwvae",
    "fmwvae",
    "jmvae",
    "mopoe",
    "mmjsd",
    "mvtcae",
    "vcca",
    "dcca",
)  # half a minute each where the machine is busy
NETWORKS = ["auto", "mlp", "gru", "lstm", "conv1d", "transformer"]
N, T, F = 60, 5, 2


def arrays(filler=0.0):
    rng = np.random.default_rng(0)
    label, length = np.arange(N) % 3, rng.integers(1, T + 1, N)
    series = rng.normal(size=(N, T, F)) + label[:, None, None]
    series[np.arange(T) >= length[:, None]] = filler
    return {"watch": series, "length_watch": length, "age": rng.normal(size=(N, 2)) + label[:, None], "label": label}


@pytest.fixture(scope="module")
def runs():
    """The same fit twice, of files with different fillers beyond the lengths."""
    data = [mmppl.read(arrays(filler)) for filler in (np.nan, 1e30)]
    return [fit("mvae", one, epochs=3, seed=0, hyper=dict(latent_dim=3, hidden=8, channels=4)) for one in data]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in PROGRAMS])
def test_no_program_sees_what_does_not_exist(name):
    """Where other numbers stand beyond the lengths, no bit of loss, gradients and answers differs."""
    torch.manual_seed(0)
    data = small_series(rows=8, steps=3)
    program = load_program(name)(data.modalities, **{"hidden": 8, "latent_dim": 2})
    usable = data.take(program.usable(data.observed).nonzero().squeeze(-1))
    laws.fillers(program.eval(), usable)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS[:-1])  # the networks of CMMD depend on the order of the modalities
def test_programs_keep_their_promises(name):
    data = small_series()
    own = {"views": (data.modalities[0].name,)} if name == "vcca" else {}
    assert "fillers" in check_program(load_program(name), data=data, **own)


@pytest.mark.slow
@pytest.mark.parametrize("networks", NETWORKS[1:])
def test_programs_keep_their_promises_with_networks_over_steps(networks):
    check_program(load_program("mvae"), data=small_series(rows=20), networks=networks, hidden=8, channels=4)


@pytest.mark.parametrize("networks", NETWORKS)
def test_networks_hide_what_does_not_exist(networks):
    torch.manual_seed(0)
    data = small_series(rows=10, steps=4)
    program = load_program("mvae")(data.modalities, hidden=8, latent_dim=2, networks=networks, channels=4)
    terms = []
    for filler in (0.0, float("nan"), 1e30):
        rows = overwritten(data, filler)
        torch.manual_seed(1)
        loss = program.objective(rows.batch(torch.arange(10), program.encoded)).loss
        slopes = torch.autograd.grad(loss, list(program.parameters()), allow_unused=True)
        terms.append([loss, *(s for s in slopes if s is not None)])
    assert all(torch.equal(a, b) for other in terms[1:] for a, b in zip(terms[0], other))
    assert terms[0][0].isfinite()


@pytest.mark.parametrize("scale", [None, "shared", "predicted", 0.5])
def test_a_likelihood_scores_what_exists(scale):
    """Against a loop over rows in float64, with gradients; learned noise is one per feature, and the steps share it."""
    m = Modality("x", (T, F), "normal", scale, sequence=True)
    torch.manual_seed(0)
    learned = {name: torch.randn_like(p) * 0.03 for name, p in m.family.parameters(m).items()}
    sizes = {None: (F,), "shared": (), "predicted": None, 0.5: None}
    assert [tuple(p.shape) for p in learned.values()] == ([] if sizes[scale] is None else [sizes[scale]])
    learned = {name: p.double().requires_grad_() for name, p in learned.items()}
    m = Modality("x", (T, F), "normal", scale, sequence=True, learned=learned or None)
    output = torch.randn(3, 4, m.output_size, dtype=torch.float64).requires_grad_()
    value = torch.randn(4, T, F, dtype=torch.float64)
    there = (torch.arange(T) < torch.tensor([[5], [2], [1], [0]])).unsqueeze(-1)
    wild = torch.where(there, value, torch.nan)
    got = m.family(m, output).of_elements(there).log_prob(wild)
    loc = output[..., : T * F].unflatten(-1, (T, F))
    if scale == "predicted":
        sd = (output[..., T * F :].unflatten(-1, (T, F)) / 2).exp()
    else:
        sd = (10 * learned["log_scale"]).exp() if learned else torch.tensor(0.5).double()
        sd = sd.expand(loc.shape)
    rows = [
        [
            torch.distributions.Normal(loc[s, b, :n], sd[s, b, :n]).log_prob(value[b, :n]).sum()
            for b, n in enumerate([5, 2, 1, 0])
        ]
        for s in range(3)
    ]
    want = torch.stack([torch.stack(row) for row in rows])
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    moving = [output, *learned.values()]
    mine, other = (torch.autograd.grad(of.square().sum(), moving) for of in (got, want))
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("likelihood", ["normal", "bernoulli", "categorical"])
def test_a_table_may_lack_single_cells(likelihood):
    """The mechanism is that of every shape: a mask of elements of a vector, with noise of each feature."""
    classes = ("a", "b", "c") if likelihood == "categorical" else None
    m = Modality("x", (4,), likelihood, classes=classes)
    torch.manual_seed(0)
    learned = {name: torch.randn_like(p) * 0.03 for name, p in m.family.parameters(m).items()}
    m = Modality("x", (4,), likelihood, classes=classes, learned=learned or None)
    output = torch.randn(5, m.output_size)
    value = torch.randint(0, 2, (5, 4)).to(torch.int64 if classes else torch.float32)
    there = torch.rand(5, 4) < 0.5
    got = m.family(m, output).of_elements(there).log_prob(value)
    if classes:
        of_each = torch.log_softmax(output.unflatten(-1, (4, 3)), -1).gather(-1, value.unsqueeze(-1)).squeeze(-1)
    elif likelihood == "normal":
        of_each = torch.distributions.Normal(output, (10 * learned["log_scale"]).exp()).log_prob(value)
    else:
        of_each = torch.distributions.Bernoulli(logits=output).log_prob(value)
    torch.testing.assert_close(got, torch.where(there, of_each, 0.0).sum(-1), rtol=1e-5, atol=1e-5)
    batch = Batch({"x": value}, {"x": there.any(-1)}, torch.arange(5), 5, ("x",), present={"x": there})
    shown = batch.input(m).unflatten(-1, (4, -1))
    assert shown[~there].eq(0).all() and (not classes or shown[there].sum(-1).eq(1).all())


@pytest.mark.parametrize("kind", [SelectedRows, SelectedSubsets])
def test_parts_of_a_batch_score_their_own_steps(kind):
    """Where a decoder decodes some rows or subsets only, each keeps the steps of its row."""
    m = Modality("x", (T, F), "normal", 1.0, sequence=True)
    torch.manual_seed(0)
    there = (torch.arange(T) < torch.tensor([[5], [2], [1]])).unsqueeze(-1)
    value, output = torch.randn(3, T, F), torch.randn(2, 3, T * F)
    places = torch.tensor([4, 0, 5]) if kind is SelectedRows else torch.tensor([1])
    selection = Selection(kind, places, torch.Size([2, 3]))
    part = m.family(m, selection.of(output)).of_elements(selection.of_rows(there))
    got = selection.spread(part).log_prob(value)
    whole = m.family(m, output).of_elements(there).log_prob(value)
    kept = (
        torch.zeros(6).index_fill(0, places, 1.0).reshape(2, 3) if kind is SelectedRows else torch.tensor([[0.0], [1]])
    )
    torch.testing.assert_close(got, whole * kept)


def test_other_likelihoods_are_refused():
    @mmppl.likelihood("plain")
    class Plain(mmppl.Likelihood):
        values = "numbers"
        mean = variance = property(lambda self: self.output)

        def log_prob(self, value):
            return -value.flatten(1).sum(1)

        def from_uniform(self, u):
            return u

    from mmppl.modalities.likelihoods.registry import LIKELIHOODS

    try:
        with pytest.raises(UsageError, match="x: plain scores no single steps of a sequence"):
            Modality("x", (T, F), "plain", sequence=True)
        m = Modality("x", (2,), "plain")
        batch = Batch(
            {"x": torch.ones(3, 2)}, {"x": torch.ones(3).bool()}, torch.arange(3), 3, ("x",),
            present={"x": torch.ones(3, 2).bool()},
        )  # fmt: skip
        with pytest.raises(ValueError, match="scores no single elements"), batch.plates():
            observe(m, nn.Identity(), torch.zeros(3, 2), batch)
    finally:
        LIKELIHOODS.forget("plain")


def test_which_program_takes_sequences():
    with pytest.raises(UsageError, match="Factors: watch, bits, words: it takes no sequences"):
        load_program("factors")(small_series(rows=4).modalities)
    schema = [Modality("x", (4, 2), sequence=True)]
    assert default_program(50, schema) == ("mvae", "No program is named: mvae, as there are sequences.")


def test_no_bit_of_a_fit_depends_on_fillers(runs):
    one, other = runs
    assert one.metrics == other.metrics or [m["loss"] for m in one.metrics] == [m["loss"] for m in other.metrics]
    assert all(
        torch.equal(a, b) for a, b in zip(one.program.state_dict().values(), other.program.state_dict().values())
    )
    for given in ("watch", "age"):
        ask = dict(given=given, want=["watch", "z", "label"], draws=3)
        mine, theirs = one.query(**ask), other.query(**ask)
        for name, parts in mine.want.items():
            for key, value in parts.items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_array_equal(value, theirs[name][key])
    evaluated = [mmppl.evaluate(run, metrics=["rmse", "r2", "coverage", "nll", "evidence"]) for run in runs]
    assert evaluated[0] == evaluated[1]


def test_answers_end_where_a_row_is_known_to_end(runs):
    data = runs[0].data()
    answer = runs[0].query(given="age", want="watch", draws=3, split="all", keep_draws=True)["watch"]
    there = data.present["watch"].expand(N, T, F).numpy()
    for key in ("mean", "std", "q05", "q50", "q95"):
        assert np.array_equal(~np.isnan(answer[key]), there), key
    assert np.array_equal(~np.isnan(answer["draws"]), np.broadcast_to(there[:, None], answer["draws"].shape))
    unknown = runs[0].query({"age": arrays()["age"]}, want="watch", draws=3)
    assert np.isfinite(unknown["watch"]["mean"]).all() and not unknown.warnings[1:]
    assert "mean sd nan" not in runs[0].query(given="age", want="watch", draws=3).table()


def test_metrics_count_existing_steps(runs):
    """Against a loop over the test rows."""
    run, given = runs[0], arrays()
    found = mmppl.evaluate(run, metrics=["rmse.", "rmse_global", "coverage90", "nll.watch"], draws=8)["metrics"]
    data = run.data()
    rows = data.rows("test")
    answer = run.query(given="age", want="watch", draws=8, quantiles=[0.05, 0.95], split="test")["watch"]
    errors, inside = [], []
    for row, mean, low, high in zip(rows.tolist(), answer["mean"], answer["q05"], answer["q95"]):
        n = given["length_watch"][row]
        true = given["watch"][row, :n]
        errors.append((mean[:n] - true) ** 2)
        inside.append((low[:n] <= true) & (true <= high[:n]))
    assert found["rmse.watch"]["age"] == pytest.approx(np.concatenate(errors).mean() ** 0.5, rel=1e-5)
    assert found["coverage90.watch"]["age"] == pytest.approx(np.concatenate(inside).mean(), abs=1e-6)
    train = data.rows("train").tolist()
    means = np.full((T, F), np.nan)
    for t in range(T):
        means[t] = np.mean([given["watch"][r, t] for r in train if given["length_watch"][r] > t], 0)
    global_errors = [
        (means[: given["length_watch"][r]] - given["watch"][r, : given["length_watch"][r]]) ** 2 for r in rows.tolist()
    ]
    assert found["rmse_global.watch"]["age"] == pytest.approx(np.concatenate(global_errors).mean() ** 0.5, rel=1e-4)
    assert np.isfinite(found["nll.watch"]["age"])


def test_units_change_the_density_of_existing_steps_only():
    m = Modality("x", (2, 1), "normal", transform="standardise", shift=(0.0,) * 2, spread=(2.0,) * 2, sequence=True)
    there = torch.tensor([[[True], [False]], [[True], [True]]])
    jacobian = m.log_jacobian(torch.zeros(2, 2, 1), there)
    torch.testing.assert_close(jacobian, -np.log(2) * torch.tensor([1.0, 2.0]).double())


def test_noise_is_calibrated_by_the_steps_that_exist():
    """Twice the noise at every existing step: the factor is 2, whatever stands beyond."""
    from mmppl.train.calibration.noise import Residuals, noise_factors
    from mmppl.train.calibration.questions import counted

    m = Modality("x", (50, 2), "normal", 1.0, sequence=True)
    torch.manual_seed(0)
    there = (torch.arange(50) < torch.randint(1, 51, (40, 1))).unsqueeze(-1)
    fn = m.family(m, torch.zeros(3, 40, 100)).of_elements(there)
    some = counted(fn, torch.arange(40) < 30)
    assert torch.equal(some, there[..., 0] & (torch.arange(40) < 30).unsqueeze(-1))
    truth = torch.where(there, 2 * torch.randn(40, 50, 2), 1e6)
    mean, variance = (t[:, some] for t in (fn.mean, fn.variance))
    factors = noise_factors([Residuals.of(mean, variance, truth[some])], shared=False)
    assert factors.shape == (2,) and factors.exp().sub(2).abs().max() < 0.15


def test_figures_of_sequences(runs, tmp_path):
    from mmppl.figures.drawing import true_values

    data = runs[0].data()
    shown = true_values(data, data.modalities[0])
    assert all(
        np.array_equal(~np.isnan(x[:, 0]), there[:, 0].numpy()) for x, there in zip(shown, data.present["watch"])
    )
    assert data.modalities[0].drawn == "curve"
