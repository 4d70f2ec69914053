"""VCCA and VCCA-private against closed forms, tables and loops in plain Python; what rows teach; what is refused."""

import dataclasses
import math

import pytest
import torch
from pyro import poutine
from reference.linear_gaussian import World, batch_of, exact_mvae

from mmppl import Dataset, Modality, UsageError, load_program, read
from mmppl.core.hyperparameters import check_hyper
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.evaluation.conditioning import default_conditioning_sets
from mmppl.inference.query import ask
from mmppl.modalities.likelihoods.noise import SPEED
from mmppl.train.settings import settings_for

NAMES, SIZES, OWN = ["a", "b", "c"], {"a": 4, "b": 3, "c": 5}, 1
VCCA = load_program("vcca")
exact = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Image, profile, word and label, any of them missing."""
    data = read("digits-three").mask_at_random(rate=0.4, seed=3)
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["label"][::3] = False
    return dataclasses.replace(data, observed=observed)


def made(data, **hyper):
    torch.manual_seed(0)
    return VCCA(data.modalities, **{"hidden": 16, "latent_dim": 4, "private": 2} | hyper)


def double(data):
    values = {n: v.double() if v.is_floating_point() else v for n, v in data.values.items()}
    return dataclasses.replace(data, values=values)


# --- a linear-Gaussian world: z (2) and a private latent (1) of each view, whose columns are orthogonal


def private_world():
    """What the networks hold, of each view alone, and the world of all latents, in which answers have a closed form."""
    alone = World.make(SIZES, 2 + OWN, orthogonal=True)
    whole = {}
    for i, (name, w) in enumerate(alone.weights.items()):
        whole[name] = torch.zeros(len(w), 2 + len(NAMES) * OWN)
        whole[name][:, :2], whole[name][:, 2 + i] = w[:, :2], w[:, 2]
    return alone, dataclasses.replace(alone, weights=whole)


def exact_vcca(alone, **hyper):
    """VCCA-private whose encoders are the posteriors given one view, and whose decoders are the world's."""
    program = VCCA(alone.modalities(), latent_dim=2, private=OWN, layers=0, **hyper).double()
    with torch.no_grad():
        for name, w in alone.weights.items():
            gain = w.T / alone.sds[name] ** 2
            precision = 1 + (gain @ w).diagonal()
            weight = gain / precision[:, None]
            loc, log_var = -weight @ alone.offsets[name], -precision.log()
            networks = {(2, 3): program.private_encoders[name]}
            if name in program.views:
                networks[0, 2] = program.encoders[name]
            for (first, last), network in networks.items():
                rows = slice(first, last)
                network[0].weight.copy_(torch.cat([weight[rows], torch.zeros_like(weight[rows])]))
                network[0].bias.copy_(torch.cat([loc[rows], log_var[rows]]))
            program.decoders[name][0].weight.copy_(w)
            program.decoders[name][0].bias.copy_(alone.offsets[name])
    return program.eval()


@exact
@pytest.mark.parametrize("method", ["guide", "importance"])
def test_a_test_time_view_answers_with_the_exact_posterior(method):
    """z and the view's private latent; every importance weight is the evidence, so it has no error."""
    alone, world = private_world()
    data, program = world.sample(6), exact_vcca(alone, views=("b",))
    answer = ask(program, data, given=["b"], want=["z", "private.b", "evidence"], draws=30, method=method)
    mean, covariance = world.posterior(data.values, ["b"])
    for name, at in (("z", slice(0, 2)), ("private.b", slice(3, 4))) if method == "guide" else ():
        torch.testing.assert_close(torch.from_numpy(answer[name]["mean"]), mean[:, at], rtol=0, atol=1e-10)
        variance = covariance.diagonal()[at].expand(6, -1)
        torch.testing.assert_close(torch.from_numpy(answer[name]["std"]) ** 2, variance, rtol=0, atol=1e-10)
    nats = torch.from_numpy(answer["evidence"]["nats"])
    torch.testing.assert_close(nats, world.log_evidence(data.values, ["b"]), rtol=0, atol=1e-10)
    assert (answer["evidence"]["se"] < 1e-10).all()


@exact
@pytest.mark.parametrize("given", [["a"], ["b", "c"], NAMES], ids="+".join)
@pytest.mark.parametrize("private", [True, False])
def test_importance_corrects_a_guide_that_does_not_see_everything(given, private):
    """With q(z | b) alone, or without b from the prior: the model's own posterior and evidence come back. 5 standard
    errors on 6 rows × 3 numbers in 6 cases: exceeded by chance once in 10,000 runs."""
    if private:
        alone, world = private_world()
        program = exact_vcca(alone, views=("b",))
    else:
        world = World.make(SIZES, 2, orthogonal=True)
        program = exact_mvae(world, "vcca", posteriors=True, views="all", private=0)
        program.views, program.encoders = ("b",), torch.nn.ModuleDict({"b": program.encoders["b"]})
    data = world.sample(6)
    answer = ask(program, data, given=given, want=["z", "evidence"], draws=4000, method="importance")
    mean, covariance = world.posterior(data.values, given)
    error = (torch.from_numpy(answer["z"]["mean"]) - mean[:, :2]).abs()
    effective = torch.from_numpy(answer["z"]["ess"]).unsqueeze(-1)
    assert (error < 5 * 1.5 * (covariance.diagonal()[:2] / effective).sqrt()).all()
    assert (answer["evidence"]["khat"] < 0.7).all()
    gap = torch.from_numpy(answer["evidence"]["nats"]) - world.log_evidence(data.values, given)
    assert (gap.abs() < 5 * torch.from_numpy(answer["evidence"]["se"]) + 1e-9).all()


@exact
def test_the_other_view_has_a_private_latent_of_the_prior_unless_it_is_given():
    """p(c | b) in closed form, by 4,000 draws: standard error of an sd 1.1 %, of a mean .016 sd; bounds: 5 of them."""
    alone, world = private_world()
    data, program = world.sample(4), exact_vcca(alone, views=("b",))
    found = ask(program, data, given=["b"], want=["c", "private.c"], draws=4000)
    mean, variance = world.predictive(data.values, ["b"], "c")
    assert ((torch.from_numpy(found["c"]["mean"]) - mean).abs() < 5 * 0.016 * variance.sqrt()).all()
    assert ((torch.from_numpy(found["c"]["std"]) / variance.sqrt() - 1).abs() < 5 * 0.011).all()
    assert (found["private.c"]["mean"] == 0).all() and (found["private.c"]["std"] == 1).all()
    both = ask(program, data, given=["b", "c"], want=["z", "private.c"], draws=2)
    own, covariance = world.posterior(data.values, ["c"])
    torch.testing.assert_close(torch.from_numpy(both["private.c"]["mean"]), own[:, 4:], rtol=0, atol=1e-10)
    torch.testing.assert_close(
        torch.from_numpy(both["private.c"]["std"]) ** 2, covariance.diagonal()[4:].expand(4, 1), rtol=0, atol=1e-10
    )
    alone_z = ask(program, data, given=["b"], want=["z"], draws=2)["z"]
    assert (both["z"]["mean"] == alone_z["mean"]).all(), "z sees the test-time view alone"


# --- the objective


def tabulated(**hyper):
    """z ~ N(0,1), x1|z ~ N(1.2 z, .5), x2|z ~ N(-.7 z, .8), x = (.9, .1): the tables have values by quadrature."""
    weights = {"x1": torch.tensor([[1.2]]), "x2": torch.tensor([[-0.7]])}
    world = World(weights, dict.fromkeys(weights, torch.zeros(1)), {"x1": 0.5**0.5, "x2": 0.8**0.5})
    data = world.sample(1)
    data.values["x1"][:], data.values["x2"][:] = 0.9, 0.1
    return exact_mvae(world, "vcca", views="all", private=0, **hyper), data


def mean_loss(program, data, monkeypatch):
    """By the two draws mean ± sd, which integrate a quadratic exactly."""
    losses = []
    for sign in (1.0, -1.0):
        monkeypatch.setattr(torch, "randn", lambda shape, sign=sign, **kind: torch.full(shape, sign, **kind))
        losses.append(program.objective(batch_of(data, program.encoded)).loss.item())
    return sum(losses) / 2


@exact
@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("together", [-2.46913893]), ("alone", [-2.495215703, -3.446973242]),
     ("both", [-2.46913893, -2.495215703, -3.446973242])],
)  # fmt: skip
def test_bounds_are_the_tabulated_ones(bounds, expected, monkeypatch):
    program, data = tabulated(bounds=bounds)
    assert -mean_loss(program, data, monkeypatch) == pytest.approx(sum(expected), abs=3e-8)


@exact
def test_the_bound_of_one_view_is_the_tabulated_one(monkeypatch):
    """q(z | x1) is what its encoder returns, without the prior: N(.3, .4) has the tabulated bound, and p(z | x1) that
    of the product of the prior and x1's likelihood."""
    program, data = tabulated()
    program.views, program.encoders = ("x1",), torch.nn.ModuleDict({"x1": program.encoders["x1"]})
    for loc, variance, bound in ((0.3, 0.4, -2.633039566), (0.5567010309, 0.2577319588, -2.495215703)):
        with torch.no_grad():
            program.encoders["x1"][0].weight.zero_()
            program.encoders["x1"][0].bias.copy_(torch.tensor([loc, math.log(variance)]))
        assert -mean_loss(program, data, monkeypatch) == pytest.approx(bound, abs=1e-8)


def gaussian(network, x):
    loc, log_var = network(x.unsqueeze(0))[0].chunk(2)
    return loc, log_var.exp()


def kl_to_prior(q):
    own, prior = (torch.distributions.Normal(m, v.sqrt()) for m, v in (q, (torch.zeros(()), torch.ones(()))))
    return torch.distributions.kl_divergence(own, prior).sum()


def nll_of(program, name, latent, x):
    out = program.decoders[name](latent.unsqueeze(0))[0]
    if name == "image":
        return torch.nn.functional.binary_cross_entropy_with_logits(out, x.flatten(), reduction="sum")
    if name == "profile":
        sd = (SPEED * program.likelihood_parameters[name]["log_scale"]).exp()
        return -torch.distributions.Normal(out, sd).log_prob(x.flatten()).sum()
    codes = x.flatten()
    return torch.nn.functional.cross_entropy(out.reshape(len(codes), -1), codes, reduction="sum")


def by_hand(program, data, rows, weights, beta, supervised):
    """Mean over the rows of the bounds under each set of test-time views that a row has any of, drawing as the program
    does."""
    views, several = program.views, len(program.views) > 1
    sets = {"together": [views], "alone": [(v,) for v in views], "both": [views, *((v,) for v in views)]}
    sets, lead = sets[program.bounds], (len(sets[program.bounds]),) if several else ()
    noise = torch.randn(*lead, len(rows), program.latent_dim).reshape(-1, len(rows), program.latent_dim)
    of_private = {
        n: torch.randn(*lead, len(rows), size).reshape(-1, len(rows), size) for n, size in program.private.items()
    }
    total = 0.0
    for b, row in enumerate(rows):
        has = [n for n in data.observed if data.observed[n][row]]
        inputs = {n: program.modality(n).as_input(data.values[n][row : row + 1])[0] for n in has}
        for s, chosen in enumerate(sets):
            experts = [gaussian(program.encoders[v], inputs[v]) for v in chosen if v in has]
            if not experts:
                continue
            if several:  # and the prior
                precision = 1 + sum(1 / v for _, v in experts)
                q = sum(m / v for m, v in experts) / precision, 1 / precision
            else:
                (q,) = experts
            z = q[0] + q[1].sqrt() * noise[s, b]
            total = total + beta * kl_to_prior(q)
            for n in has:
                latent = z.detach() if n == "label" and not supervised else z
                if n in program.private:
                    h = gaussian(program.private_encoders[n], inputs[n])
                    total = total + beta * kl_to_prior(h)
                    latent = torch.cat([z, h[0] + h[1].sqrt() * of_private[n][s, b]])
                total = total + weights[n] * nll_of(program, n, latent, data.values[n][row])
    return total / len(rows)


@exact
@pytest.mark.parametrize(
    "hyper",
    [
        {},
        dict(views=("word",), private=(0, 3, 1), supervised=True, beta=0.7, weights=(2.0, 0.5, 1.5)),
        dict(views=("image", "word"), supervised=True, label_weight=3.0),
        dict(views="all", private=0, bounds="together"),
        dict(views=("profile", "image"), bounds="alone", private=1),
    ],
    ids=str,
)
def test_the_objective_is_a_loop_over_rows_and_views(hyper, digits):
    """Loss and gradients with the same draws."""
    data = double(digits)
    program = made(data, **hyper).double()
    with torch.no_grad():  # from zero: last layers beside a linear path, noise
        for parameter in program.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    weights = dict(zip(["image", "profile", "word"], hyper.get("weights", (1.0,) * 3)))
    supervised, features = "supervised" in hyper, sum(w * program.modality(n).size for n, w in weights.items())
    balanced = (features / math.log(10)) ** 0.5
    weights["label"] = hyper.get("label_weight", balanced if supervised else 1.0)
    rows, parameters = list(range(10)), list(program.parameters())
    torch.manual_seed(1)
    ours = program.objective(data.batch(torch.tensor(rows), program.encoded)).loss
    torch.manual_seed(1)
    wanted = by_hand(program, data, rows, weights, hyper.get("beta", 1.0), supervised)
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=0)
    ours, wanted = (
        torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True) for loss in (ours, wanted)
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("hyper", [{}, dict(views=("image", "word"))], ids=str)
def test_decoding_only_what_is_scored_changes_no_term(hyper, digits):
    program = made(digits, **hyper)
    batch = digits.batch(torch.arange(60), program.encoded)
    found = []
    for patterns in (None, MissingnessPatterns.of(digits.observed)):
        torch.manual_seed(1)
        found.append(program.objective(dataclasses.replace(batch, patterns=patterns)))
    for term, (value, _) in found[0].items():
        torch.testing.assert_close(value, found[1][term][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("views", [("image",), ("image", "word")], ids="+".join)
def test_rows_that_lack_something_teach_the_rest(views, digits):
    """A row without a test-time view moves nothing; one without another view moves neither its networks nor its noise;
    labels move their decoder alone."""
    program = made(digits, views=views)

    def moved(has):
        observed = {n: torch.tensor([n in has]) for n in digits.observed}
        one = dataclasses.replace(digits.take(torch.tensor([0])), observed=observed)
        torch.manual_seed(1)
        loss = program.objective(one.batch(torch.tensor([0]), program.encoded)).loss
        names, parameters = zip(*program.named_parameters())
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
        parts = {".".join(n.split(".")[:2]) for n, g in zip(names, gradients) if g.any()}
        return parts, program.usable(observed).item()

    assert moved(["profile", "label"]) == (set(), False)
    parts, usable = moved(["image", "label"])
    assert usable and not any(part.endswith(("profile", "word")) for part in parts)
    assert {"encoders.image", "private_encoders.image", "decoders.image", "decoders.label"} <= parts
    assert {"private_encoders.profile", "decoders.profile"} <= moved(["image", "profile"])[0]
    torch.manual_seed(1)
    terms = program.objective(digits.batch(torch.arange(40), program.encoded))
    of_label = torch.autograd.grad(terms["nll.label"][0], list(program.encoders.parameters()), allow_unused=True)
    assert all(g is None for g in of_label), "unless supervised=true"


# --- what is asked and what is refused


def test_a_view_that_z_does_not_see_answers_only_by_weights(digits):
    program, whole = made(digits).eval(), read("digits-three").take(torch.arange(4))
    alone = "VCCA infers z from image alone; give it too, or query with method importance"
    for want in (["z"], ["label"], ["word", "evidence"]):
        with pytest.raises(UsageError, match=alone):
            ask(program, whole, given=["profile"], want=want, draws=4)
    with pytest.raises(UsageError, match="VCCA infers z from image, word alone; give one of them too"):
        ask(made(digits, views=("image", "word")).eval(), whole, given=["profile"], want=["z"], draws=4)
    with pytest.raises(UsageError, match="does not see label; leave it out"):
        ask(program, whole, given=["image", "label"], want=["z"], draws=4)
    assert ask(program, whole, given=["profile"], want=["z"], draws=40, method="importance")["z"]["khat"].any()
    assert ask(program, whole, given=["profile"], want=["evidence"], draws=40)["evidence"]["nats"].all()
    prior = ask(program, whole, given=[], want=["z"], draws=4)["z"]
    assert (prior["mean"] == 0).all() and (prior["std"] == 1).all()
    assert default_conditioning_sets(program) == [
        ("image",), ("image", "profile"), ("image", "word"), ("image", "profile", "word"),
    ]  # fmt: skip


def test_rows_without_a_test_time_view_are_told(digits):
    """If each row gives what it has, z of a row with another view alone is the prior, which is said."""
    program = made(digits).eval()
    has = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0], [0, 1]], dtype=torch.bool)
    nowhere = torch.zeros(5, dtype=torch.bool)
    observed = {"image": has[:, 0], "profile": has[:, 1], "word": nowhere, "label": nowhere}
    rows = dataclasses.replace(digits.take(torch.arange(5)), observed=observed)
    answer = ask(program, rows, want=["z"], draws=4)
    assert (answer["z"]["mean"] == 0).all(-1).tolist() == [False, True, False, True, True]
    (told,) = [line for line in answer.warnings if "their latent is the prior" in line]
    assert told.startswith("2 of 5 rows have none of image, and their latent is the prior: VCCA infers z from image")
    for quiet in (dict(method="importance"), dict(given=["image"])):
        found = ask(program, rows, want=["z"], draws=40, **quiet)
        assert not any("their latent is the prior" in line for line in found.warnings)


def test_noise_is_fixed_by_scale(digits):
    for m in made(digits, scale=0.3).modalities:
        assert (m.scale == 0.3) == (m.name == "profile")
    program = made(read("digits-two-view"), scale=0.3)
    assert program.modality("noisy").scale == 0.3 and [*program.likelihood_parameters] == ["label"]
    assert program.decoders["noisy"](torch.zeros(1, 6)).shape == (1, 64), "no log-variances"
    loc = program.decoders["noisy"](torch.zeros(1, 6))
    x = read("digits-two-view").values["noisy"][:1]
    batch = read("digits-two-view").batch(torch.arange(1), program.encoded)
    model = poutine.condition(program.model, {"z": torch.zeros(1, 4), "private.noisy": torch.zeros(1, 2)})
    site = poutine.trace(model).get_trace(batch).nodes["noisy"]
    expected = torch.distributions.Normal(loc, 0.3).log_prob(x.flatten(1)).sum(-1)
    torch.testing.assert_close(site["fn"].log_prob(site["value"]), expected)


IMAGE, NOISY = Modality("image", (4,), "bernoulli"), Modality("noisy", (3,), "normal")
LABEL = Modality("label", (), "categorical", role="label", classes=("a", "b"))


@pytest.mark.parametrize(
    ("modalities", "hyper", "message"),
    [
        ([IMAGE, LABEL], {}, "VCCA: needs two views of the same thing; got image."),
        ([LABEL], {}, "VCCA: needs two views of the same thing; got none."),
        ([IMAGE, NOISY], dict(views=("nosy",)), "VCCA: views=nosy must name some of image, noisy. .*noisy"),
        ([IMAGE, NOISY, LABEL], dict(views=("label",)), "VCCA: views=label must name some of image, noisy."),
        ([IMAGE, NOISY], dict(private=-1), "VCCA: private=-1; expected one size ≥ 0, or one for each of image, noisy."),
        ([IMAGE, NOISY, LABEL], dict(private=(1, 2, 3)), "VCCA: private=.1, 2, 3.; expected one size ≥ 0"),
        ([IMAGE, NOISY], dict(private=(2, -2)), "VCCA: private=.2, -2.; expected"),
        ([IMAGE, NOISY], dict(beta=-1.0), "VCCA: beta=-1.0 is negative"),
        ([IMAGE, NOISY], dict(warm_up=1.5), "VCCA: warm_up=1.5 is not between 0 and 1"),
        ([IMAGE, NOISY], dict(scale=-1.0), "noisy: scale -1.0 is not a positive number"),
        ([IMAGE, dataclasses.replace(IMAGE, name="other")], dict(scale=1.0), "VCCA: scale=1.0 fixes the noise of"),
        ([IMAGE, NOISY], dict(latent_dim=0), "latent_dim"),
    ],
)
def test_bad_input_is_refused_in_one_line(modalities, hyper, message):
    with pytest.raises(UsageError, match=message) as raised:
        VCCA(modalities, **check_hyper(VCCA, hyper))
    assert "\n" not in str(raised.value)


def test_texts_are_read_as_hyper_parameters():
    program = VCCA([IMAGE, NOISY], **check_hyper(VCCA, {"views": "noisy", "private": "0,3", "hidden": "16,8"}))
    assert program.views == ("noisy",) and program.private == {"noisy": 3}
    assert VCCA([IMAGE, NOISY], **check_hyper(VCCA, {"views": "all"})).views == ("image", "noisy")


def test_the_preset_has_the_sizes_that_are_compared():
    """Three hidden layers of 1,024 each, D = 50, as CMMD's prior and decoder on the same data."""
    hyper, training = settings_for(VCCA, {}, "paper-mnist")
    program = VCCA([Modality("rotated", (28, 28), "bernoulli"), Modality("noisy", (28, 28), "normal")], **hyper)

    def widths(network):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
        return [layers[0].in_features, *(m.out_features for m in layers)]

    assert widths(program.encoders["rotated"]) == [784, 1024, 1024, 1024, 100]
    assert widths(program.private_encoders["noisy"]) == [784, 1024, 1024, 1024, 60]
    assert widths(program.decoders["noisy"]) == [80, 1024, 1024, 1024, 784]
    assert (training.lr, training.batch_size, training.schedule) == (1e-4, 100, "constant")
