"""The objective against Pyro's own ELBOs, loops over subsets; and SVI really moves the weights."""

import copy
import dataclasses
import math

import pyro
import pytest
import torch
from pyro.infer import SVI, TraceMeanField_ELBO
from reference.linear_gaussian import batch_of

from mmppl import Modality, ObjectiveELBO, Terms, UsageError, all_subsets, elbo, load_program, read
from mmppl.core.terms import terms_of
from mmppl.data.dataset import Dataset
from mmppl.modalities.likelihoods.noise import SPEED
from mmppl.modalities.subsets import full_and_singletons, one_subset_each, random_subsets
from mmppl.train.settings import settings_for


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return read("digits-three").mask_at_random(rate=0.4, seed=3)


@pytest.fixture(scope="module")
def two_view() -> Dataset:
    data = read("digits-two-view")
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["noisy"][::3], observed["label"][::4], observed["rotated"][5] = False, False, False
    return dataclasses.replace(data, observed=observed)


def program_on(data, name, **hyper):
    torch.manual_seed(0)
    return load_program(name)(data.modalities, hidden=16, latent_dim=4, **hyper)


def double(data):
    return dataclasses.replace(
        data, values={n: v.double() if v.is_floating_point() else v for n, v in data.values.items()}
    )


def test_loss_is_pyros_mean_field_elbo(digits, float64):
    data = double(digits)
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


def gaussian(network, x):
    """Mean and variance by one encoder."""
    loc, log_var = network(x).chunk(2, -1)
    return loc, log_var.exp()


def kl_by_hand(q, p):
    """KL(q ‖ p) of (mean, variance) pairs, nats."""
    (m1, v1), (m2, v2) = q, p
    return 0.5 * (v2.log() - v1.log() + (v1 + (m1 - m2).square()) / v2 - 1).sum()


def nll_by_hand(program, name, z, x, noise=None):
    """−ln p(x | z) of one row's modality, its noise that of another program if one is given."""
    out = program.decoders[name](z)
    if name == "image":
        return torch.nn.functional.binary_cross_entropy_with_logits(out, x.flatten(), reduction="sum")
    if name == "profile":
        log_sd = SPEED * (noise or program).likelihood_parameters[name]["log_scale"]
        return -torch.distributions.Normal(out, log_sd.exp()).log_prob(x.flatten()).sum()
    codes = x.flatten()
    return torch.nn.functional.cross_entropy(out.reshape(len(codes), -1), codes, reduction="sum")


def balanced(program, hyper):
    """The weight of a label of ten classes that no number was given for."""
    sizes = [m.size for m in program.modalities if m.role == "modality"]
    features = len(sizes) * max(sizes) if hyper.get("weights") == "size" else sum(sizes)
    return (features / math.log(10)) ** 0.5


def mvae_by_hand(program, data, rows, hyper):
    """Mean over the rows of the loop over each row's subsets, drawing as the program does."""
    names, beta = (
        program.encoded,
        hyper.get("beta", 1.0) * (min(0.25 / hyper["warm_up"], 1.0) if "warm_up" in hyper else 1.0),
    )
    sampled = hyper.get("subsets") == "sampled"
    drawn = random_subsets(len(names), hyper["extra"]) if sampled else None
    table = torch.cat([full_and_singletons(len(names)), drawn]) if sampled else all_subsets(len(names))
    mopoe = type(program).__name__ == "MoPoE"  # one subset of each row's own
    if mopoe:
        has = torch.stack([data.observed[n][rows] for n in names], -1)
        table = one_subset_each(has).unsqueeze(0)
    noise = torch.randn(len(table), len(rows), program.latent_dim)
    only_seen = hyper.get("scored", "seen") == "seen"
    cross, spread = hyper.get("cross", 1.0) * only_seen, min(1.0, 0.75 / (1 - hyper.get("anneal", 0.5)))
    of_unseen = torch.randn_like(noise) if cross else None
    still = copy.deepcopy(program).requires_grad_(False)
    seen_nll, crosses, crossed = {m.name: [] for m in program.modalities}, {}, {}
    largest = max(m.size for m in program.modalities if m.role == "modality")
    total = 0.0
    for b, row in enumerate(rows):
        has = [n for n in data.observed if data.observed[n][row]]
        inputs = {n: program.modality(n).as_input(data.values[n][row : row + 1])[0] for n in names if n in has}
        for s, subset in enumerate(table[:, b].tolist() if mopoe else table.tolist()):
            wanted = [n for n, x in zip(names, subset) if x]
            seen = [n for n in wanted if n in has]
            if not seen or (len(seen) < len(wanted) and not sampled):
                continue
            with_prior = not mopoe or program.prior_expert == "always" or len(seen) == len(names)
            precision = torch.full((program.latent_dim,), float(with_prior))
            shift = torch.zeros(program.latent_dim)
            for n in seen:
                mean, variance = gaussian(program.encoders[n], inputs[n])
                t = 1.0 if "temper" not in hyper else program.log_exponents[names.index(n)].exp()
                precision, shift = precision + t / variance, shift + t * mean / variance
            q = shift / precision, 1 / precision
            z = q[0] + q[1].sqrt() * noise[s, b]
            prior = torch.zeros(program.latent_dim), torch.ones(program.latent_dim)
            total = total + beta * kl_by_hand(q, prior)
            for m in program.modalities:
                weight = largest / m.size if hyper.get("weights") == "size" else 1.0
                weight = hyper.get("label_weight", balanced(program, hyper)) if m.role == "label" else weight
                scored = m.name in seen if only_seen and m.name in names else m.name in has
                if scored:
                    nll = nll_by_hand(program, m.name, z, data.values[m.name][row])
                    total, seen_nll[m.name] = total + weight * nll, [*seen_nll[m.name], nll.item()]
                elif m.name in has and cross:
                    z_unseen = q[0] + spread * q[1].sqrt().detach() * of_unseen[s, b]
                    nll = nll_by_hand(program, m.name, z_unseen, data.values[m.name][row], noise=still)
                    crosses[m.name] = crosses.get(m.name, 0.0) + cross * weight
                    crossed[m.name] = crossed.get(m.name, 0.0) + cross * weight * nll
    for name, number in crosses.items():
        half, here = program.modality(name).size / 2, sum(seen_nll[name]) / len(seen_nll[name])
        excess = crossed[name] / number - here
        if name == "profile" and excess > 0:  # a density
            excess = half * (1 + excess / half).log()
        total = total + number * (here + excess)
    return total / len(rows)


def jmvae_by_hand(program, data, rows, hyper):
    """The same for JMVAE: rows with all that is encoded."""
    noise, total = torch.randn(len(rows), program.latent_dim), 0.0
    beta = 2.0 * min(0.25 / hyper["warm_up"], 1.0) if "warm_up" in hyper else 1.0
    for b, row in enumerate(rows):
        if not all(data.observed[n][row] for n in program.encoded):
            continue
        inputs = [program.modality(n).as_input(data.values[n][row : row + 1])[0] for n in program.encoded]
        q = gaussian(program.joint, torch.cat(inputs))
        z = q[0] + q[1].sqrt() * noise[b]
        total = total + beta * kl_by_hand(q, (torch.zeros(program.latent_dim), torch.ones(program.latent_dim)))
        for n, x in zip(program.encoded, inputs):
            joint = q if hyper.get("towards") == "both" else [part.detach() for part in q]
            total = total + hyper.get("alpha", 0.1) * kl_by_hand(joint, gaussian(program.encoders[n], x))
        for m in program.modalities:
            if data.observed[m.name][row]:
                weight = hyper.get("label_weight", balanced(program, hyper)) if m.role == "label" else 1.0
                total = total + weight * nll_by_hand(program, m.name, z, data.values[m.name][row])
    return total / len(rows)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("mvae", {}),
        ("mvae", dict(scored="observed")),
        ("mvae", dict(cross=0.0, weights="size", label_weight=3.0)),
        ("mvae", dict(cross=0.7, anneal=0.1, weights="size", label_weight=3.0)),
        ("mvae", dict(subsets="sampled", scored="observed", extra=2)),
        ("mvae", dict(subsets="sampled", cross=0.0, extra=2, temper="learned", beta=2.0, warm_up=0.5)),
        ("mvae", dict(subsets="sampled", anneal=0.0, extra=1, see_labels=True, label_weight=3.0)),
        ("mvae", dict(scored="observed", temper="learned", beta=2.0, warm_up=0.2)),
        ("mopoe", {}),
        ("mopoe", dict(prior_expert="full", cross=0.7, anneal=0.1, weights="size", label_weight=3.0, beta=2.0)),
        ("jmvae", {}),
        ("jmvae", dict(towards="both", alpha=0.7, beta=2.0, warm_up=0.5, label_weight=3.0)),
        ("jmvae", dict(see_labels=True)),
    ],
    ids=str,
)
def test_objectives_are_a_loop_over_rows_and_subsets(name, hyper, digits):
    """Loss and gradients, in plain Python with the same draws; image, profile, word and label all missing somewhere."""
    data = double(digits)
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["label"][::3] = False
    data = dataclasses.replace(data, observed=observed)
    program = program_on(data, name, **hyper).double()
    program.progress.fill_(0.25)
    with torch.no_grad():  # from zero: last layers beside a linear path, noise, exponents
        for parameter in program.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    whole = torch.stack([observed[n] for n in program.encoded]).all(0).nonzero().flatten().tolist()
    rows = [*range(12), *whole[:4]]
    parameters = list(program.parameters())
    torch.manual_seed(1)
    ours = program.objective(data.batch(torch.tensor(rows), program.encoded)).loss
    torch.manual_seed(1)
    by_hand = (jmvae_by_hand if name == "jmvae" else mvae_by_hand)(program, data, rows, hyper)
    torch.testing.assert_close(ours, by_hand, rtol=1e-10, atol=0)
    ours, by_hand = (torch.autograd.grad(loss, parameters) for loss in (ours, by_hand))
    torch.testing.assert_close(ours, by_hand, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["mvae", "jmvae"])
def test_a_guide_looks_at_nothing_but_what_is_seen(name, digits):
    """Other values of what is observed and not seen change no bit of its mean."""
    program, rows = program_on(digits, name), torch.arange(32)
    changed = dataclasses.replace(digits, values=digits.values | {"profile": digits.values["profile"] + 1})

    def mean(dataset):
        batch = dataset.batch(rows, program.encoded).seeing(["image", "word"])
        return pyro.poutine.trace(program.guide).get_trace(batch).nodes["z"]["fn"].mean

    assert torch.equal(mean(digits), mean(changed))


def test_presets_have_the_papers_networks():
    """MNIST and its label, both seen: 784-512-512-(64, 64) and 10-512-512-(64, 64); decoders of 3 and 2 layers."""
    mnist = [
        Modality("image", (28, 28), "bernoulli"),
        Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
    ]

    def widths(network):
        layers = [m for m in network if isinstance(m, torch.nn.Linear)]
        return [layers[0].in_features, *(m.out_features for m in layers)]

    for name, depth in (("mvae", 3), ("jmvae", 2)):
        cls = load_program(name)
        hyper, training = settings_for(cls, {}, "paper-mnist")
        program = cls(mnist, **hyper)
        assert (training.batch_size, training.lr, program.encoded) == (100, 1e-3, ("image", "label"))
        assert widths(program.encoders["image"]) == [784, 512, 512, 128]
        assert widths(program.encoders["label"]) == [10, 512, 512, 128]
        assert widths(program.decoders["image"]) == [64, *[512] * depth, 784]
        assert widths(program.decoders["label"]) == [64, *[512] * depth, 10]
    assert widths(program.joint.head) == [794, 512, 512, 128]
    assert load_program("mvae").presets["paper-mnist"]["label_weight"] == 50


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


@pytest.mark.parametrize(
    "found, says",
    [
        (torch.zeros(()), "returned a Tensor"),
        ({}, "empty"),
        ({"a": torch.zeros(())}, "whose 'a'"),
        ({"a": (torch.zeros(3), 1.0)}, "whose 'a'"),
    ],
    ids=["tensor", "empty", "no-weight", "no-scalar"],
)
def test_an_objective_is_terms_or_a_plain_dict_of_them(found, says):
    """The README promises that a dict will do."""
    program = program_on(read("digits-three"), "mvae")
    pair = {"a": (torch.ones(()), 2.0)}
    program.objective = lambda batch: pair
    assert terms_of(program, None).loss.item() == 2
    program.objective = lambda batch: found
    with pytest.raises(UsageError, match=f"^[^\n]*{says}[^\n]*$"):
        terms_of(program, None)
