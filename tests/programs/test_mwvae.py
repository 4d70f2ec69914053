"""MW-VAE and FMW-VAE against closed forms and loops in plain Python; their styles; what they refuse."""

import dataclasses
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from reference.linear_gaussian import World, batch_of, exact_mvae

from mmppl import Modality, Run, UsageError, fit, load_program, read
from mmppl.core.hyperparameters import check_hyper
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.data.dataset import Dataset
from mmppl.distributions.style_bank import StyleBank
from mmppl.inference.query import ask
from mmppl.modalities.likelihoods.noise import SPEED
from mmppl.runs.record import read_record, write_record

NAMES, SIZES, STYLE = ["a", "b", "c"], {"a": 4, "b": 3, "c": 5}, 1
exact = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = read("digits-three").mask_at_random(rate=0.4, seed=3)
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["label"][::3] = False
    return dataclasses.replace(data, observed=observed)


def made(name, data, **hyper):
    torch.manual_seed(0)
    return load_program(name)(data.modalities, **{"hidden": 16, "latent_dim": 4} | hyper)


def double(data):
    values = {n: v.double() if v.is_floating_point() else v for n, v in data.values.items()}
    return dataclasses.replace(data, values=values)


# --- linear-Gaussian data: each modality's encoder is its exact posterior


def world_with_styles():
    """Latents z (2) and a style (1) of each modality; every modality's own columns are orthogonal."""
    world = World.make(SIZES, 2 + STYLE, orthogonal=True)
    whole = {}
    for i, (name, w) in enumerate(world.weights.items()):
        whole[name] = torch.zeros(len(w), 2 + len(NAMES) * STYLE)
        whole[name][:, :2], whole[name][:, 2 + i] = w[:, :2], w[:, 2]
    return world, dataclasses.replace(world, weights=whole)


def exact_fmwvae(world, **hyper):
    """The program of which `world` (2 + 1 latents for each modality) gives decoders and posteriors."""
    program = load_program("fmwvae")(world.modalities(), latent_dim=2, private=STYLE, layers=0, **hyper).double()
    with torch.no_grad():
        for name, w in world.weights.items():
            gain = w.T / world.sds[name] ** 2
            precision = 1 + (gain @ w).diagonal()
            weight = gain / precision[:, None]
            loc, log_var = -weight @ world.offsets[name], -precision.log()
            for network, rows in (
                (program.encoders[name], slice(0, 2)),
                (program.private_encoders[name], slice(2, 3)),
            ):
                network[0].weight.copy_(torch.cat([weight[rows], torch.zeros_like(weight[rows])]))
                network[0].bias.copy_(torch.cat([loc[rows], log_var[rows]]))
            program.decoders[name][0].weight.copy_(w)
            program.decoders[name][0].bias.copy_(world.offsets[name])
    return program.eval()


@exact
@pytest.mark.parametrize("given", NAMES)
@pytest.mark.parametrize("styled", [False, True])
def test_one_modality_answers_with_its_exact_posterior(given, styled):
    """And the evidence: every importance weight is it."""
    if styled:
        alone, world = world_with_styles()
        program = exact_fmwvae(alone)
    else:
        world = World.make(SIZES, 2, orthogonal=True)
        program = exact_mvae(world, "mwvae", posteriors=True)
    data = world.sample(6)
    private = f"private.{given}"
    answer = ask(program, data, given=[given], want=["z", "evidence", *([private] if styled else [])], draws=20)
    mean, covariance = world.posterior(data.values, [given])
    at = 2 + NAMES.index(given)
    for name, part in (("z", slice(0, 2)), *([(private, slice(at, at + 1))] if styled else [])):
        torch.testing.assert_close(torch.from_numpy(answer[name]["mean"]), mean[:, part], rtol=0, atol=1e-10)
        variance = covariance.diagonal()[part].expand(6, -1)
        torch.testing.assert_close(torch.from_numpy(answer[name]["std"]) ** 2, variance, rtol=0, atol=1e-10)
    nats = world.log_evidence(data.values, [given])
    torch.testing.assert_close(torch.from_numpy(answer["evidence"]["nats"]), nats, rtol=0, atol=1e-10)


@exact
@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("given", [list(s) for n in (2, 3) for s in combinations(NAMES, n)], ids="+".join)
def test_several_answer_with_the_barycentre_and_importance_corrects_it(given, styled):
    """5 standard errors on 6 rows × 3 numbers in 8 cases: exceeded by chance once in 10,000 runs."""
    if styled:
        alone, world = world_with_styles()
        program = exact_fmwvae(alone)
    else:
        world = World.make(SIZES, 2, orthogonal=True)
        program = exact_mvae(world, "mwvae", posteriors=True)
    data = world.sample(6)
    answer = ask(program, data, given=given, want=["z"], draws=2)["z"]
    each = [world.posterior(data.values, [n]) for n in given]
    mean = torch.stack([m[:, :2] for m, _ in each]).mean(0)
    sd = torch.stack([c.diagonal()[:2].sqrt() for _, c in each]).mean(0)
    torch.testing.assert_close(torch.from_numpy(answer["mean"]), mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.from_numpy(answer["std"]), sd.expand(6, 2), rtol=0, atol=1e-10)
    found = ask(program, data, given=given, want=["z", "evidence"], draws=4000, method="importance")
    mean, covariance = world.posterior(data.values, given)
    error = (torch.from_numpy(found["z"]["mean"]) - mean[:, :2]).abs()
    effective = torch.from_numpy(found["z"]["ess"]).unsqueeze(-1)
    assert (error < 5 * 1.5 * (covariance.diagonal()[:2] / effective).sqrt()).all()
    gap = torch.from_numpy(found["evidence"]["nats"]) - world.log_evidence(data.values, given)
    assert (gap.abs() < 5 * torch.from_numpy(found["evidence"]["se"]) + 1e-9).all()


@exact
@pytest.mark.parametrize("styled", [False, True])
def test_each_row_answers_by_what_it_has(styled):
    """Anything from nothing, whose answer is the prior exactly, to everything."""
    program = exact_fmwvae(world_with_styles()[0]) if styled else None
    world = world_with_styles()[1] if styled else World.make(SIZES, 2, orthogonal=True)
    program = program or exact_mvae(world, "mwvae", posteriors=True)
    data = world.sample(8)
    held = [[n for i, n in enumerate(NAMES) if row >> i & 1] for row in range(8)]
    observed = {n: torch.tensor([n in has for has in held]) for n in NAMES}
    answer = ask(program, dataclasses.replace(data, observed=observed), want=["z"], draws=2)["z"]
    assert (answer["mean"][0] == 0).all() and (answer["std"][0] == 1).all()
    for row, has in enumerate(held[1:], 1):
        each = [world.posterior(data.values, [n]) for n in has]
        mean = torch.stack([m[row, :2] for m, _ in each]).mean(0)
        torch.testing.assert_close(torch.from_numpy(answer["mean"][row]), mean, rtol=0, atol=1e-10)


class Noise:
    """Fixes the draws: a quadratic without cross terms is integrated exactly by mean + sd and mean − sd."""

    def __init__(self, monkeypatch):
        self.sign = 1.0
        monkeypatch.setattr(torch, "randn", lambda shape, **kind: torch.full(shape, self.sign, **kind))

    def mean(self, f):
        found = []
        for self.sign in (1.0, -1.0):
            found.append(f())
        return {name: sum(terms[name][0].detach() for terms in found) / 2 for name in found[0]}


@exact
def test_terms_are_the_closed_forms(monkeypatch):
    """Exact encoders: nll + KL of each modality alone is −ln p of it; the cross term is the expected nll under the
    other's posterior; W2² is that of the posteriors."""
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(5)
    program = exact_mvae(world, "mwvae", posteriors=True)
    found = Noise(monkeypatch).mean(lambda: program.objective(batch_of(data, program.encoded)))
    posteriors = {n: world.posterior(data.values, [n]) for n in NAMES}
    for n in NAMES:
        assert found[f"nll.{n}"] + found[f"kl.z.{n}"] == pytest.approx(
            -world.log_evidence(data.values, [n]).mean().item(), abs=1e-10
        )
        w, s, cross = world.weights[n], world.sds[n], 0.0
        for other in set(NAMES) - {n}:
            mean, covariance = posteriors[other]
            residual = data.values[n] - mean @ w.T - world.offsets[n]
            squares = residual.square().sum(-1) + torch.trace(w @ covariance @ w.T)
            cross += 0.5 * (squares / s**2 + len(w) * torch.tensor(2 * torch.pi * s**2).log()).mean()
        assert found[f"cross.{n}"].item() == pytest.approx(cross.item(), abs=1e-10)
    apart = 0.0
    for one, other in combinations(NAMES, 2):
        (m1, c1), (m2, c2) = posteriors[one], posteriors[other]
        apart += (m1 - m2).square().sum(-1).mean() + (c1.diagonal().sqrt() - c2.diagonal().sqrt()).square().sum()
    assert found["w2"].item() == pytest.approx(apart.item(), abs=1e-10)


# --- the objective in plain Python


def gaussian(network, x):
    loc, log_var = network(x).chunk(2, -1)
    return loc, log_var.exp()


def kl_to_prior(q):
    return 0.5 * (q[1] + q[0].square() - 1 - q[1].log()).sum()


def nll_of(program, name, latent, x):
    out = program.decoders[name](latent)
    if name == "image":
        return torch.nn.functional.binary_cross_entropy_with_logits(out, x.flatten(), reduction="sum")
    if name == "profile":
        log_sd = SPEED * program.likelihood_parameters[name]["log_scale"]
        return -torch.distributions.Normal(out, log_sd.exp()).log_prob(x.flatten()).sum()
    codes = x.flatten()
    return torch.nn.functional.cross_entropy(out.reshape(len(codes), -1), codes, reduction="sum")


def by_hand(program, data, rows, weights, cross, gamma, beta, from_row):
    """Mean over the rows of a loop over what each has, drawing as the program does."""
    names, private = program.encoded, getattr(program, "private", {})
    noise = torch.randn(len(names), len(rows), program.latent_dim)
    of_style = {n: torch.randn(len(names), len(rows), size) for n, size in private.items()}
    total = 0.0
    for b, row in enumerate(rows):
        has = [n for n in data.observed if data.observed[n][row]]
        values = {n: data.values[n][row] for n in has}
        inputs = {n: program.modality(n).as_input(data.values[n][row : row + 1])[0] for n in has}
        encoded = [n for n in has if n in names]
        q = {n: gaussian(program.encoders[n], inputs[n]) for n in encoded}
        styles = {n: gaussian(program.private_encoders[n], inputs[n]) for n in encoded if n in private}
        for n in encoded:
            at = names.index(n)
            z = q[n][0] + q[n][1].sqrt() * noise[at, b]
            total = total + beta * kl_to_prior(q[n])
            if n in styles:
                total = total + beta * kl_to_prior(styles[n])
            for m in has:
                latent = z
                if m in private:
                    drawn = of_style[m][at, b]
                    own = m == n or from_row
                    latent = torch.cat([z, styles[m][0] + styles[m][1].sqrt() * drawn if own else drawn])
                weight = weights[m] if m == n or m not in names else cross[m] * weights[m]
                total = total + weight * nll_of(program, m, latent, values[m])
        for one, other in combinations(encoded, 2):
            (m1, v1), (m2, v2) = q[one], q[other]
            total = total + gamma * ((m1 - m2).square() + (v1.sqrt() - v2.sqrt()).square()).sum()
    return total / len(rows)


CROSS = (0.5, 2.0, 0.0, 0.1)  # of image, profile, word, label


@exact
@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("mwvae", {}),
        ("mwvae", dict(gamma=3.0, cross=CROSS, beta=0.7, weights=(2.0, 0.5, 1.5), align="pairwise")),
        ("mwvae", dict(variant="unaligned", label_weight=3.0)),
        ("mwvae", dict(see_labels=False)),
        ("fmwvae", {}),
        ("fmwvae", dict(private=(3, 0, 2, 1), cross_style="row", cross=CROSS, gamma=0.3, beta=2.0)),
        ("fmwvae", dict(private=5, cross=0.0, see_labels=False)),
    ],
    ids=str,
)
def test_objectives_are_a_loop_over_rows_and_modalities(name, hyper, digits):
    """Loss and gradients with the same draws; image, profile, word and label all missing somewhere."""
    data = double(digits)
    program = made(name, data, **hyper).double()
    with torch.no_grad():  # from zero: last layers beside a linear path, noise
        for parameter in program.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    rows = list(range(20))
    held = [sum(bool(data.observed[n][row]) for n in data.observed) for row in rows]
    assert {1, 4} <= set(held)
    weights = dict(zip(["image", "profile", "word"], hyper.get("weights", (1.0,) * 3)))
    features = sum(w * program.modality(n).size for n, w in weights.items())
    weights["label"] = hyper.get("label_weight", (features / math.log(10)) ** 0.5)
    cross, gamma = hyper.get("cross", 1.0), hyper.get("gamma", 1.0)
    cross = dict(zip(data.observed, cross if isinstance(cross, tuple) else (cross,) * 4))
    if hyper.get("variant") == "unaligned":
        cross, gamma = dict.fromkeys(cross, 0.0), 0.0
    parameters = list(program.parameters())
    torch.manual_seed(1)
    ours = program.objective(data.batch(torch.tensor(rows), program.encoded)).loss
    torch.manual_seed(1)
    wanted = by_hand(program, data, rows, weights, cross, gamma, hyper.get("beta", 1.0), "cross_style" in hyper)
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=0)
    ours, wanted = (
        torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True) for loss in (ours, wanted)
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-8, atol=1e-10)


@exact
@pytest.mark.parametrize("name", ["mwvae", "fmwvae"])
def test_what_was_not_seen_teaches_no_noise_if_it_is_not_scored(name, digits):
    """scored=seen: the ELBOs are the same to the bit, and the cross terms move encoders and decoders alone."""
    data, found = double(digits), {}
    for scored in ("observed", "seen"):
        program = made(name, data, scored=scored).double()
        torch.manual_seed(1)
        found[scored] = program.objective(data.batch(torch.arange(20), program.encoded))
    assert set(found["seen"]) == set(found["observed"])
    kept = [term for term in found["seen"] if not term.startswith("cross.")]
    for term in kept:
        torch.testing.assert_close(found["seen"][term], found["observed"][term], rtol=1e-12, atol=0)
    (noise,) = program.likelihood_parameters["profile"].parameters()
    decoder, loss = list(program.decoders["profile"].parameters()), found["seen"]["cross.profile"][0]
    of_noise, *of_decoder = torch.autograd.grad(loss, [noise, *decoder], allow_unused=True)
    assert of_noise is None and any(slope.any() for slope in of_decoder)


def test_the_joint_variant_is_one_elbo_of_what_each_row_has(digits):
    program = made("mwvae", digits, variant="joint", label_weight=3.0)
    torch.manual_seed(1)
    terms = program.objective(digits.batch(torch.arange(30), program.encoded))
    assert set(terms) == {"nll.image", "nll.profile", "nll.word", "nll.label", "kl.z"}
    assert terms["nll.label"][1] == 3.0 and not hasattr(program, "encoders")
    answer = ask(program.eval(), digits.take(torch.arange(6)), given=[], want=["z"], draws=2)["z"]
    assert (answer["mean"] == 0).all() and (answer["std"] == 1).all()


@pytest.mark.parametrize(("name", "hyper"), [("mwvae", {}), ("mwvae", dict(cross=0.0)), ("fmwvae", {})], ids=str)
def test_decoding_only_what_is_scored_changes_no_term(name, hyper, digits):
    program = made(name, digits, **hyper)
    batch = digits.batch(torch.arange(60), program.encoded)
    found = []
    for patterns in (None, MissingnessPatterns.of(digits.observed)):
        torch.manual_seed(1)
        found.append(program.objective(dataclasses.replace(batch, patterns=patterns)))
    for term, (value, _) in found[0].items():
        torch.testing.assert_close(value, found[1][term][0], rtol=1e-5, atol=1e-5)


def test_without_private_latents_it_is_mwvae(digits):
    """The same weights, draws and loss, bit for bit."""
    one, other = made("mwvae", digits), made("fmwvae", digits, private=0)
    other.load_state_dict(one.state_dict())
    losses = []
    for program in (one, other):
        torch.manual_seed(1)
        losses.append(program.objective(digits.batch(torch.arange(40), program.encoded)).loss)
    assert torch.equal(*losses)


def test_the_unaligned_variant_reports_its_distance_without_minimising_it(digits):
    terms = made("mwvae", digits, variant="unaligned").objective(digits.batch(torch.arange(40), tuple(digits.observed)))
    assert terms["w2"][1] == 0 and terms["w2"][0] > 0 and not any(name.startswith("cross") for name in terms)


@pytest.mark.parametrize("name", ["mwvae", "fmwvae"])
def test_a_single_modality_and_a_label_that_answers(name, digits):
    """One modality alone is a VAE; given the label alone, image and word are generated."""
    alone = dataclasses.replace(
        digits, modalities=digits.modalities[:1], values={"image": digits.values["image"]},
        observed={"image": digits.observed["image"]},
    )  # fmt: skip
    program = made(name, alone)
    terms = program.objective(alone.batch(torch.arange(30), program.encoded))
    assert terms["w2"][0] == 0 and terms["cross.image"][0] == 0 and terms.loss.isfinite()
    program = made(name, digits)
    answer = ask(program.eval(), digits.take(torch.arange(5)), given=["label"], want=["image", "word", "z"], draws=3)
    rows = (~digits.observed["label"][:5]).numpy()
    assert (answer["z"]["mean"][rows] == 0).all() and (answer["z"]["mean"][~rows] != 0).any()


@pytest.mark.parametrize(
    ("name", "hyper", "why"),
    [
        ("mwvae", dict(gamma=-1.0), "gamma=-1.0 is negative"),
        ("mwvae", dict(beta=-0.1), "beta=-0.1 is negative"),
        ("mwvae", dict(label_weight=-20.0), "label_weight=-20.0 is negative"),
        ("mwvae", dict(cross=-1.0), "expected one number ≥ 0, or one for each of image, profile, word, label"),
        ("mwvae", dict(cross=(1.0, 1.0)), "expected one number ≥ 0"),
        ("mwvae", dict(weights=(1.0, -1.0, 1.0)), "expected one number ≥ 0"),
        ("fmwvae", dict(gamma=-1.0), "gamma=-1.0 is negative"),
        ("fmwvae", dict(separate_weight=-1.0), "separate_weight=-1.0 is negative"),
        ("fmwvae", dict(separate="hsic", private=0), "private=0 leaves nothing to separate"),
        ("fmwvae", dict(cross=(1.0, 1.0, 1.0, -1.0)), "expected one number ≥ 0"),
        ("fmwvae", dict(private=-1), "expected one size ≥ 0"),
        ("fmwvae", dict(private=(1, 2)), "one for each of image, profile, word, label"),
        ("fmwvae", dict(private=(1, 1, 1, 1), see_labels=False), "label has no encoder"),
        ("fmwvae", dict(style="class", see_labels=False), "needs a label"),
        ("fmwvae", dict(styles=0), "at least one"),
    ],
    ids=str,
)
def test_what_is_refused(name, hyper, why, digits):
    with pytest.raises(UsageError) as caught:
        made(name, digits, **hyper)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_with_weights_and_sizes_of_each_is_opened_again(tmp_path):
    """They come back from JSON as lists."""
    draw = np.random.default_rng(0)
    data = {"a": draw.normal(size=(40, 3)), "b": draw.normal(size=(40, 2)), "label": draw.integers(0, 2, 40)}
    hyper = dict(cross="0.1,0,1", private="2,0,1", weights="1,2", hidden=4, latent_dim=2)
    fit("fmwvae", data, hyper=hyper, epochs=1, batch_size=16, out=tmp_path / "run")
    program = Run.load(tmp_path / "run").program
    assert program.cross == {"a": 0.1, "b": 0.0, "label": pytest.approx((7 / math.log(2)) ** 0.5)}
    assert program.private == {"a": 2, "label": 1}
    fit("mwvae", data, hyper=dict(weights="", hidden=4, latent_dim=2), epochs=1, out=tmp_path / "none")
    write_record(tmp_path / "none", dataclasses.replace(read_record(tmp_path / "none"), status="running"))
    fit("mwvae", data, hyper=dict(weights="", hidden=4, latent_dim=2), epochs=1, out=tmp_path / "none", resume=True)
    weights = Run.load(tmp_path / "none").program.weights
    assert weights == {"a": 1.0, "b": 1.0, "label": pytest.approx((5 / math.log(2)) ** 0.5)}


def test_weights_are_read_from_text():
    assert check_hyper(load_program("fmwvae"), dict(cross="0.1,1", private="8,0")) == dict(
        cross=(0.1, 1.0), private=(8, 0)
    )
    assert check_hyper(load_program("fmwvae"), dict(cross="0.5", private="4")) == dict(cross=0.5, private=4)
    with pytest.raises(UsageError, match="gamma=x is no finite float"):
        check_hyper(load_program("mwvae"), dict(gamma="x"))


def test_presets_have_the_papers_sizes():
    mnist = [
        Modality("image", (28, 28), "bernoulli"),
        Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
    ]
    for name in ("mwvae", "fmwvae"):
        cls = load_program(name)
        hyper = {
            k: v for k, v in cls.presets["paper-mnist"].items() if k not in ("epochs", "batch_size", "lr", "schedule")
        }
        program = cls(mnist, **hyper)
        assert program.latent_dim == 64 and not any(program.cross.values()) and program.weights["label"] == 1
    assert program.private == {"image": 64} and program.decoders["image"][0].in_features == 128


# --- styles


def test_styles_keep_the_last_rows_that_were_observed():
    styles = StyleBank(5, 1, 3)
    for first in (0, 3, 6):
        numbers = torch.arange(first, first + 3.0).unsqueeze(-1)
        kept, codes = torch.tensor([True, first != 3, True]), torch.tensor([0, 1, StyleBank.UNKNOWN])
        styles.keep(numbers, numbers - 10, kept, codes)
    assert styles.loc.flatten().tolist() == [5, 6, 7, 8, 0]  # 4, which was not observed, would have been the last
    assert styles.codes.tolist() == [StyleBank.UNKNOWN, 0, 1, StyleBank.UNKNOWN, StyleBank.UNKNOWN]
    assert styles.kept.tolist() == [True, True, True, True, False]
    styles.keep(torch.arange(7.0).unsqueeze(-1), torch.zeros(7, 1), torch.ones(7).bool(), torch.zeros(7).long())
    assert sorted(styles.loc.flatten().tolist()) == [0, 1, 2, 3, 4]


def filled(styles):
    """Eight rows of two classes and one without."""
    rng = torch.Generator().manual_seed(0)
    loc, log_var = torch.randn(2, 8, 2, generator=rng)
    codes = torch.tensor([0, 0, 0, 1, 1, 1, StyleBank.UNKNOWN, 1])
    styles.keep(loc, log_var, torch.arange(8) != 5, codes)
    return loc, log_var


@exact
def test_another_rows_style_is_the_mixture_of_all_that_are_kept():
    styles = StyleBank(20, 2, 3)
    own = torch.full((3, 2), 9.0)
    seen = torch.tensor([True, False, False])
    nothing = styles.another(own, own, seen)
    assert (nothing.mean[1:] == 0).all() and (nothing.variance[1:] == 1).all() and (nothing.mean[0] == 9).all()
    loc, log_var = filled(styles)
    kept = [0, 1, 2, 3, 4, 6, 7]
    q = styles.another(own, own.log(), seen)
    torch.testing.assert_close(q.mean[1], loc[kept].mean(0))
    torch.testing.assert_close(q.mean[0], own[0])
    value = torch.tensor([0.3, -0.2])
    each = torch.distributions.Normal(loc[kept], torch.exp(0.5 * log_var[kept])).log_prob(value).sum(-1)
    torch.testing.assert_close(q.log_prob(value.expand(3, 2))[1], each.logsumexp(0) - torch.tensor(7.0).log())
    narrow = StyleBank(20, 2, 3)
    narrow.keep(loc, torch.full_like(loc, -40.0), torch.arange(8) != 5, torch.zeros(8).long())
    draws = narrow.another(own, own.log(), seen).rsample((400,))[:, 1]
    nearest = torch.cdist(draws, loc).min(-1)
    assert nearest.values.max() < 1e-6 and set(nearest.indices.tolist()) == set(kept)


@exact
def test_the_average_style_is_that_of_the_class():
    styles = StyleBank(20, 2, 3)
    loc, _ = filled(styles)
    own = torch.full((5, 2), 9.0)
    q = styles.average(own, own.log(), torch.arange(5) == 0, torch.tensor([0, 0, 1, 2, StyleBank.UNKNOWN]))
    torch.testing.assert_close(
        q.loc, torch.stack([own[0], loc[:3].mean(0), loc[[3, 4, 7]].mean(0), own[0] * 0, own[0] * 0])
    )
    assert q.log_var.tolist()[1:] == [[-12, -12], [-12, -12], [0, 0], [0, 0]]


def test_a_query_generates_with_the_chosen_style(digits):
    program = made("fmwvae", digits, styles=64)
    program.train()
    for first in (0, 50):
        program.objective(digits.batch(torch.arange(first, first + 50), program.encoded))
    program.eval()
    kept = program.styles["image"]
    assert not program.objective(digits.batch(torch.arange(9), program.encoded)).loss.isnan()  # keeps nothing
    some = digits.take(digits.observed["label"].nonzero().flatten()[:6])
    found = {}
    for program.style in ("prior", "another", "class"):
        answer = ask(program, some, given=["label"], want=["private.image", "z"], draws=500)
        found[program.style] = torch.from_numpy(answer["private.image"]["mean"])
    codes = some.values["label"]
    assert (found["prior"] == 0).all()
    torch.testing.assert_close(found["another"][0], kept.loc[kept.kept].mean(0))
    for row in range(6):
        members = kept.kept & (kept.codes == codes[row])
        torch.testing.assert_close(found["class"][row], kept.loc[members].mean(0))
    own = ask(program, some, given=["image"], want=["private.image"], draws=2)["private.image"]
    rows = some.observed["image"]
    with torch.no_grad():
        batch = some.batch(torch.arange(6), program.encoded)
        loc, _ = program.private_encoders["image"](batch.input(program.modality("image"))).chunk(2, -1)
    torch.testing.assert_close(torch.from_numpy(own["mean"])[rows], loc[rows])


def test_the_style_of_what_is_not_seen_is_no_part_of_the_evidence(digits):
    """Its likelihood is not scored, so that whatever style it would be generated with integrates out."""
    program = made("fmwvae", digits, styles=64)
    program.train().objective(digits.batch(torch.arange(60), program.encoded))
    program.eval()
    some = digits.take(digits.observed["label"].nonzero().flatten()[:6])
    found = {}
    for program.style in ("prior", "another", "class"):
        found[program.style] = [
            ask(program, some, given=["label"], want=want, draws=50)["evidence"]["nats"]
            for want in (["evidence"], ["profile", "evidence"])
        ]
    np.testing.assert_array_equal(found["another"][0], found["prior"][0])  # of a mixture, the row's own draws differ
    np.testing.assert_array_equal(found["class"], found["prior"])
