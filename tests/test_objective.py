"""The objective against Pyro's own ELBOs, loops over subsets, fillers; and SVI really moves the weights."""

import dataclasses

import pyro
import pytest
import torch
from pyro.infer import SVI, TraceMeanField_ELBO
from reference.linear_gaussian import batch_of

from mmppl import ObjectiveELBO, Terms, all_subsets, elbo, load_program, read
from mmppl.data import Dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return read("digits-three").hide(rate=0.4, seed=3)


@pytest.fixture(scope="module")
def two_view() -> Dataset:
    data = read("digits-two-view")
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["noisy"][::3], observed["label"][::4], observed["rotated"][5] = False, False, False
    return dataclasses.replace(data, observed=observed)


def program_on(data, name, **hyper):
    torch.manual_seed(0)
    return load_program(name)(data.modalities, hidden=16, latent_dim=4, **hyper)


def test_terms_add_up():
    terms = Terms({"a": (torch.tensor(2.0), 3.0)}) | {"b": (torch.tensor(1.0), torch.tensor(0.5))}
    assert isinstance(terms, Terms) and terms.loss.item() == 6.5


def test_loss_is_pyros_mean_field_elbo(digits, float64):
    data = dataclasses.replace(
        digits, values={n: v.double() if v.is_floating_point() else v for n, v in digits.values.items()}
    )
    program = program_on(data, "mvae").double()
    batch = data.batch(torch.arange(0, 200, 4), program.encoded).under(all_subsets(3))
    torch.manual_seed(1)
    ours = elbo(program, batch).loss
    torch.manual_seed(1)
    pyros = TraceMeanField_ELBO().differentiable_loss(program.model, program.guide, batch) / batch.size
    torch.testing.assert_close(ours, pyros, rtol=1e-10, atol=0)
    ours, theirs = (torch.autograd.grad(x, list(program.parameters()), allow_unused=True) for x in (ours, pyros))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert not list(pyro.get_param_store().keys())


def test_all_subsets_in_one_trace_are_a_loop_over_rows_and_subsets(digits, float64, monkeypatch):
    """Noise off, so that the sum over subsets and rows can be taken one by one."""
    monkeypatch.setattr(torch, "randn", lambda shape, **kind: torch.zeros(shape, **kind))
    data = dataclasses.replace(
        digits, values={n: v.double() if v.is_floating_point() else v for n, v in digits.values.items()}
    )
    program, rows = program_on(data, "mvae").double(), range(12)
    at_once = program.objective(data.batch(torch.arange(12), program.encoded)).loss.item()
    total = 0.0
    for row in rows:
        has = [n for n in program.encoded if data.observed[n][row]]
        for subset in all_subsets(3):
            names = [n for n, s in zip(program.encoded, subset.tolist()) if s]
            if set(names) <= set(has):
                total += elbo(program, data.batch(torch.tensor([row]), program.encoded).seeing(names)).loss.item()
    assert at_once == pytest.approx(total / 12, rel=1e-10)


@pytest.mark.parametrize("filler", [1000.0, float("nan")])
@pytest.mark.parametrize("name", ["mvae", "cmmd"])
def test_fillers_change_no_bit(name, filler, digits, two_view):
    """Loss, gradients and answers, in training mode, with values under the mask overwritten after the door."""
    data = digits if name == "mvae" else two_view
    program = program_on(data, name).train()

    def everything(dataset):
        torch.manual_seed(2)
        batch = dataset.batch(torch.arange(64), program.encoded)
        loss = program.objective(batch).loss
        return [loss, *torch.autograd.grad(loss, list(program.parameters()))]

    dirty = {}
    for n, value in data.values.items():
        value = value.clone()
        value[~data.observed[n]] = filler if value.is_floating_point() else 1000
        dirty[n] = value
    changed = dataclasses.replace(data, values=dirty)
    assert all(torch.equal(a, b) for a, b in zip(everything(data), everything(changed)))

    from mmppl.query import ask

    rows = data.rows("test")
    keep = rows[
        torch.stack([data.observed[c][rows] for c in program.conditions] or [torch.ones(len(rows)).bool()]).all(0)
    ]
    program.eval()
    given = None if name == "mvae" else ["rotated", "noisy"]
    for method in ("guide", "importance"):
        a, b = (
            ask(program, d.take(keep), given=given, want=["z", "label", "evidence"], draws=30, method=method)
            for d in (data, changed)
        )
        for thing in a.want:
            for key, value in a[thing].items():
                assert key == "classes" or (value == b[thing][key]).all() or (value != value).any()


def test_rows_that_lack_something_train_on_the_rest(two_view):
    """CMMD: a row without x_O adds nothing; without x_M only the classifier's term; without y all the others."""
    program = program_on(two_view, "cmmd").eval()

    def terms(row):
        torch.manual_seed(0)
        return {
            n: v.item() for n, (v, _) in program.objective(two_view.batch(torch.tensor([row]), program.encoded)).items()
        }

    assert all(v == 0 for v in terms(5).values())
    without_noisy = terms(3)
    assert (
        without_noisy["nll.label"] > 0
        and without_noisy["nll.noisy"] == without_noisy["kl.z"] == without_noisy["mmd.z"] == 0
    )
    without_label = terms(4)
    assert without_label["nll.label"] == 0 and without_label["nll.noisy"] != 0 and without_label["kl.z"] > 0
    usable = program.usable(two_view.observed)
    assert not usable[5] and usable[3] and usable[4] and not usable[12]


def test_svi_runs_the_same_objective_and_moves_the_weights(digits):
    pyro.clear_param_store()
    program = program_on(digits, "mvae")
    batch = digits.batch(torch.arange(32), program.encoded, size=1000)
    torch.manual_seed(3)
    loss = program.objective(batch).loss
    want = torch.autograd.grad(loss, list(program.parameters()))
    svi = SVI(program.model, program.guide, pyro.optim.SGD({"lr": 1e-6}), loss=ObjectiveELBO(program))
    before = [p.detach().clone() for p in program.parameters()]
    torch.manual_seed(3)
    assert svi.step(batch) == pytest.approx(1000 * loss.item(), rel=1e-6)
    for p, old, gradient in zip(program.parameters(), before, want):
        torch.testing.assert_close(
            old - p.detach(), 1e-6 * 1000 * gradient, rtol=1e-2, atol=1e-7
        )  # 1e-7: a float32 step of a weight near 1
    assert any(not torch.equal(p, old) for p, old in zip(program.parameters(), before))
    pyro.clear_param_store()


def test_cmmd_loss_is_the_tabulated_one():
    """rec 1.4459817, KL 0.7069822635, CE 0.3566749439, omega .4, alpha 10, lambda 1000, MMD² .0123: 12.67552405."""
    values = dict(
        rec=(1.4459817, 1.0), kl=(0.7069822635, 0.4), ce=(0.3566749439, 10.0), mmd=(0.0123, (1 - 0.4) * 1000.0)
    )
    assert Terms({n: (torch.tensor(v).double(), w) for n, (v, w) in values.items()}).loss.item() == pytest.approx(
        12.67552405, abs=1e-6
    )
    data = read("digits-two-view")
    program = program_on(data, "cmmd", omega=0.4, alpha=10.0)
    weights = {n: w for n, (_, w) in program.objective(batch_of(data.take(torch.arange(8)), program.encoded)).items()}
    assert weights == {"nll.noisy": 1.0, "nll.label": 10.0, "kl.z": 0.4, "mmd.z": 600.0}
    elbo_only = program_on(data, "cmmd", omega=1.0, alpha=1.0)
    assert "mmd.z" not in elbo_only.objective(batch_of(data.take(torch.arange(8)), elbo_only.encoded))
