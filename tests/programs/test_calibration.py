"""Every program on linear-Gaussian data, where the truth is known: evidence in nats, the corrected posterior's moments,
and simulation-based calibration (Talts et al. 2018, arXiv:1804.06788), for every conditioning set and everything
missing."""

import dataclasses
from functools import cache
from itertools import chain, combinations, product

import numpy as np
import pytest
import torch
from reference.conditional import Conditional
from reference.linear_gaussian import World, exact_mvae
from scipy import stats

from mmppl.inference.query import ask

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.usefixtures("float64")
DRAWS = 2000  # of each row


@dataclasses.dataclass(frozen=True)
class Case:
    """A program on its world; guides that are `off` have other means and wider variances than the exact ones."""

    name: str
    hyper: tuple = ()
    off: bool = False

    @property
    def world(self):
        return conditional() if self.name == "cmmd" else shared()

    @property
    def free(self):
        """Names that may be missing."""
        return ["m", "n"] if self.name == "cmmd" else ["a", "b", "c"]

    @property
    def always(self):
        return ["o"] if self.name == "cmmd" else []

    def conditioning_sets(self):
        sizes = range(1 - len(self.always), len(self.free) + 1)
        return [[*self.always, *s] for s in chain.from_iterable(combinations(self.free, k) for k in sizes)]

    def program(self, by=0.2):
        """`by`: how far the guide's means are off, if they are."""
        if self.name == "cmmd":
            program = self.world.program()
            heads = [program.encoder.head]
        else:
            hyper = dict(self.hyper)
            no_prior = self.name in ("mmvae", "mmjsd") or hyper.get("prior_expert") in ("full", "never")
            program = exact_mvae(self.world, self.name, posteriors=no_prior, **hyper)
            heads = [*program.encoders.values(), *([program.joint.head] if hasattr(program, "joint") else [])]
        if self.off:
            with torch.no_grad():
                for head in heads:
                    loc, log_var = head[0].bias.chunk(2)
                    loc += by
                    log_var += 0.3
                if getattr(program, "log_exponents", None) is not None:
                    program.log_exponents += torch.tensor([-0.4, 0.3, 0.2])
        return program

    def __str__(self):
        return "-".join([self.name, *(str(v) for _, v in self.hyper), *(["off"] if self.off else [])])


@cache
def shared():
    return World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)


@cache
def conditional():
    return Conditional.make({"m": 4, "n": 3}, 2)


CASES = [
    Case("mvae"),
    Case("mvae", off=True),
    Case("mvae", (("temper", "learned"),), off=True),
    Case("jmvae"),
    Case("jmvae", off=True),
    Case("mmvae"),
    Case("mmvae", off=True),
    *(Case("mopoe", (("prior_expert", kind), ("answers", "mixture"))) for kind in ("full", "always", "never")),
    Case("mopoe"),
    Case("mopoe", off=True),
    Case("mopoe", (("prior_expert", "full"), ("answers", "mixture")), off=True),
    Case("mmjsd", off=True),
    Case("mvtcae"),
    Case("mvtcae", off=True),
    Case("mvtcae", (("prior_expert", "never"),), off=True),
    Case("vcca", (("views", "all"), ("private", 0)), off=True),
    Case("cmmd"),
    Case("cmmd", off=True),
]
SHORT = {"mvae-learned-off", "jmvae-off", "mmvae-off", "mopoe-off", "cmmd-off"}  # one of each program
every_case = pytest.mark.parametrize(
    "case", [pytest.param(c, id=str(c), marks=[] if str(c) in SHORT else pytest.mark.slow) for c in CASES]
)


def holed(case, rows):
    """Latents, data and patterns: `rows` rows for every non-empty set of what may be missing."""
    patterns = torch.tensor(list(product([False, True], repeat=len(case.free))))[1:].repeat(rows, 1)
    z, data = case.world.simulate(len(patterns))
    return z, dataclasses.replace(data, observed=data.observed | dict(zip(case.free, patterns.unbind(-1)))), patterns


def exact(case, data, patterns, names):
    """ln p of those of `names` that each row has, (B,); 0 for nothing."""
    total = torch.zeros(len(patterns))
    for pattern in patterns.unique(dim=0):
        has = [n for n, there in zip(case.free, pattern) if there and n in names]
        rows = (patterns == pattern).all(-1)
        if has:
            total[rows] = case.world.log_evidence({n: x[rows] for n, x in data.values.items()}, has)
    return total


def check_evidence(case, rows, questions):
    """The mean over rows and 6 seeds of each pattern is within 0.01 nats of the truth."""
    _, data, patterns = holed(case, rows)
    program = case.program()
    for targets, given in questions:
        want = exact(case, data, patterns, targets + given) - exact(case, data, patterns, given)
        gaps = []
        for seed in range(6):
            found = ask(program, data, given=case.always + given, want=["evidence", *targets], draws=DRAWS, seed=seed)[
                "evidence"
            ]
            gaps.append(torch.from_numpy(found["nats"]) - want)
        gap = torch.stack(gaps).mean(0)
        for pattern in patterns.unique(dim=0):
            off = gap[(patterns == pattern).all(-1)].mean().abs()
            assert off < 0.01, (targets, given, pattern.tolist(), off.item())


@every_case
def test_joint_evidence(case):
    check_evidence(case, 16, [(case.free, [])])


@pytest.mark.slow
@every_case
def test_conditional_evidence(case):
    """Each modality given the others, and two given the third, where there are three; rows lack some of either."""
    wanted = [[n] for n in case.free] + [case.free[:2]] * (len(case.free) > 2)
    check_evidence(case, 20, [(w, [n for n in case.free if n not in w]) for w in wanted])


# --- the corrected posterior

COPIES = 64
COMPARED = sum(6 * 2 * 2 * len(case.conditioning_sets()) for case in CASES)
BOUND = stats.t.ppf(
    1 - 0.001 / COMPARED / 2, COPIES - 1
)  # family-wise error rate of all cases 0.001: 5.5 standard errors


@every_case
def test_importance_has_the_posteriors_mean_and_variance(case):
    """6 rows, each asked 64 times under other ids, hence with other noise: the mean of the answers against the closed
    form, in standard errors of that mean."""
    _, data = case.world.simulate(6)
    many = dataclasses.replace(data.take(torch.arange(6).repeat(COPIES)), ids=np.arange(6 * COPIES))
    program = case.program()
    for given in case.conditioning_sets():
        found = ask(program, many, given=given, want=["z"], draws=1000, method="importance", quantiles=())["z"]
        mean, covariance = case.world.posterior(data.values, given)
        for got, want in ((found["mean"], mean), (found["std"] ** 2, covariance.diagonal().expand(6, -1))):
            each = torch.from_numpy(got).unflatten(0, (COPIES, 6))
            error = each.std(0) / COPIES**0.5
            assert ((each.mean(0) - want).abs() < BOUND * error + 1e-9).all(), given


# --- simulation-based calibration

SIMULATIONS, PICKED, BINS = 1000, 99, 20
TESTS = sum(2 * len(case.conditioning_sets()) for case in CASES)  # two latents


def p_values(program, data, z, given, method="importance"):
    """Chi-square p of the ranks of the true latents among draws from the answer, one per latent."""
    found = ask(program, data, given=given, want=["z"], draws=990, method=method, keep_draws=True, quantiles=(), seed=3)
    draws = torch.from_numpy(found["z"]["draws"][:, ::10])
    rank = (draws < z.unsqueeze(1)).sum(1)  # 0..99
    return [stats.chisquare(np.bincount(r // (100 // BINS), minlength=BINS)).pvalue for r in rank.T.numpy()]


@pytest.mark.slow
@every_case
def test_ranks_are_uniform_for_every_conditioning_set(case):
    z, data = case.world.simulate(SIMULATIONS, seed=11)
    for given in case.conditioning_sets():
        assert min(p_values(case.program(), data, z, given)) > 0.01 / TESTS, given


@every_case
def test_ranks_are_uniform_whatever_a_row_lacks(case):
    z, data, _ = holed(case, 1 + SIMULATIONS // (2 ** len(case.free) - 1))
    assert min(p_values(case.program(), data, z, case.always + case.free)) > 0.01 / TESTS


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in SHORT], ids=str)
def test_ranks_expose_a_wrong_guide(case):
    z, data, _ = holed(case, 1 + SIMULATIONS // (2 ** len(case.free) - 1))
    assert min(p_values(case.program(by=1.0), data, z, case.always + case.free, "guide")) < 1e-6
