"""Terms that a fit adds to a program: what they move, where they count, that nothing else changes, what is refused."""

from dataclasses import replace

import pytest
import torch

import mmppl
from mmppl import Callback, FitError, Run, TermSpec, UsageError, fit, load_program, read
from mmppl.core.added_terms import added_terms, own_state
from mmppl.core.terms import terms_of
from mmppl.objectives.added.registry import add, specs_of
from mmppl.train.stages.plan import plan_stages
from mmppl.train.step import Step

TINY = dict(hyper=dict(hidden=8, layers=1, latent_dim=2), epochs=2, batch_size=512, calibrate=False)
CRITIC = "width=16,layers=2"


@pytest.fixture(scope="module")
def data():
    return read("digits-two-view")


@pytest.fixture(scope="module")
def holes():
    return read("digits-three").mask_at_random(rate=0.3, seed=1)


def program(data, *terms, name="mvae", seed=0):
    torch.manual_seed(0)
    made = load_program(name)(data.modalities, hidden=16)
    add(made, specs_of(terms), data.batch(torch.arange(2), made.encoded), seed)
    return made


def value(made, batch, name):
    torch.manual_seed(1)
    return terms_of(made, batch)[name][0]


def test_a_sham_moves_the_critic_alone(data):
    """Permutations have a stream of their own, so that the program has the bits of a fit without the term."""
    without, sham, loud = (
        fit("mvae", data, terms=terms, **TINY)
        for terms in ([], [f"tc.nwj:on=experts,weight=0,{CRITIC}"], [f"tc.nwj:on=experts,weight=5,{CRITIC}"])
    )
    same = own_state(without.program), own_state(sham.program)
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert any(not torch.equal(same[0][name], one) for name, one in own_state(loud.program).items())
    first, last = (line["train"]["tc.nwj.experts"] for line in (sham.metrics[0], sham.metrics[-1]))
    assert last > first  # the critic learns
    assert sham.metrics[-1]["weights"]["tc.nwj.experts"] == 0
    answers = [run.query(given="noisy", want="rotated", rows=slice(4))["rotated"] for run in (without, sham)]
    assert all((answers[0][key] == answers[1][key]).all() for key in answers[0])


@pytest.mark.parametrize("on", ["z", "experts"])
def test_a_program_descends_minus_lambda_times_the_bound_and_the_critic_minus_the_bound(holes, on):
    made = program(holes, f"tc.nwj:on={on},weight=0.25,{CRITIC}").train()
    batch, name = holes.batch(torch.arange(60), made.encoded), f"tc.nwj.{on}"
    (planned,) = plan_stages(made, 1)
    critic = {id(p) for group in planned.groups if "critic" in group.name for p in group.parameters}
    state = {n: t.clone() for n, t in made.state_dict().items()}
    torch.manual_seed(2)
    Step(made, groups=planned.groups, replay=False)(batch)
    made.load_state_dict(state)
    torch.manual_seed(2)
    terms = terms_of(made, batch)
    bound = terms.pop(name)[0]
    for parameter in made.parameters():
        task, rise = (
            torch.autograd.grad(t, parameter, retain_graph=True, allow_unused=True)[0] for t in (terms.loss, bound)
        )
        weight = 1.0 if id(parameter) in critic else 0.25
        expected = sum(g for g in (task, None if rise is None else -weight * rise) if g is not None)
        assert torch.allclose(parameter.grad, torch.as_tensor(expected), rtol=1e-4, atol=1e-6)


SLOW = [
    ("mvae", "tc.nwj:on=z"),
    ("mvae", "tc.dv:on=experts,derange=true"),
    ("mmvae", "tc.smile:on=z"),
    ("dae", "tc.wasserstein:on=z,lipschitz=penalty"),
    ("dae", "tc.wasserstein:on=z"),
]
RECORDED = [("dae", "tc.dv:on=z"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


@pytest.mark.parametrize(("name", "term"), RECORDED)
def test_a_recorded_step_has_the_bits_of_the_eager_one(holes, name, term):
    found, said = [], []
    for replay in (False, True):
        made = program(holes, f"{term},{CRITIC}", name=name).train()
        step = Step(made, groups=plan_stages(made, 1)[0].groups, replay=replay, log=said.append)
        optimiser = torch.optim.Adam(made.parameters(), 1e-2, fused=True)
        for i in range(5):
            batch = holes.batch(torch.arange(40) + 9 * i, made.encoded)
            step(batch)
            optimiser.step()
        found.append([*made.parameters(), *made.buffers()])
    assert step.recorded is not None and not said
    assert all(torch.equal(a, b) for a, b in zip(*found))


@pytest.mark.parametrize("on", ["z", "experts"])
@pytest.mark.parametrize("filler", [float("nan"), 1e30])
def test_what_lies_under_a_mask_does_not_matter(holes, on, filler):
    made = program(holes, f"tc.dv:on={on},{CRITIC}").eval()
    batch = holes.batch(torch.arange(50), made.encoded)
    filled = {
        n: torch.where(batch.observed[n].view(-1, *[1] * (v.ndim - 1)), v, filler) if v.is_floating_point() else v
        for n, v in batch.values.items()
    }
    name = f"tc.dv.{on}"
    assert torch.equal(value(made, batch, name), value(made, replace(batch, values=filled), name))


def test_rows_with_one_modality_are_no_part_of_it(data):
    made = program(data, f"tc.nwj:on=z,{CRITIC}").train()
    batch = data.batch(torch.arange(30), made.encoded)
    alone = {**batch.observed, "noisy": torch.arange(30) == 0}
    alone["rotated"] = torch.ones(30, dtype=torch.bool)
    single = mmppl.Batch(batch.values, alone, batch.index, batch.size, batch.encoded)
    assert float(value(made, single, "tc.nwj.z").detach()) == 0


def test_it_counts_where_the_program_moves_by_gradients(data):
    made = program(data, f"tc.nwj:on=z,{CRITIC}", name="ima")
    for planned in plan_stages(made, 20):
        moving = "critic of tc.nwj.z" in [group.name for group in planned.groups]
        assert moving == planned.stage.name.startswith("autoencoder") == ("tc.nwj.z" in planned.stage.terms)


class StopIn(Callback):
    def on_step(self, fit, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt


def test_a_stopped_fit_goes_on_to_the_same_bits_and_is_asked_like_any_other(data, tmp_path):
    terms = [TermSpec("tc.dv", {"on": "z", "width": 16, "steps": 2})]
    whole = fit("mvae", data, terms=terms, **TINY)
    with pytest.raises(KeyboardInterrupt):
        fit("mvae", data, terms=terms, out=tmp_path / "run", callbacks=[StopIn()], **TINY)
    with pytest.raises(UsageError, match=r"cannot resume: terms none, the run has tc\.dv:on=z,steps=2,width=16"):
        fit("mvae", data, out=tmp_path / "run", resume=True, **TINY)
    again = fit("mvae", data, terms=terms, out=tmp_path / "run", resume=True, **TINY)
    both = whole.program.state_dict(), again.program.state_dict()
    assert all(torch.equal(one, both[1][name]) for name, one in both[0].items())
    assert any(name.startswith("term.tc_dv_z.bound.critic.") for name in both[0])
    loaded = Run.load(tmp_path / "run")
    assert not list(added_terms(loaded.program)) and loaded.record.terms == ("tc.dv:on=z,steps=2,width=16",)
    asked = dict(given="noisy", want="rotated", rows=slice(3))
    answers = [run.query(data, **asked)["rotated"]["mean"] for run in (whole, loaded)]
    assert (answers[0] == answers[1]).all()


def test_a_critic_that_diverges_stops_the_fit_and_is_named(data):
    with pytest.raises(FitError, match=r"tc\.nwj\.z|tc_nwj_z"):
        fit("mvae", data, terms=[f"tc.nwj:on=z,lr=1e6,steps=3,{CRITIC}"], **TINY)


@pytest.mark.parametrize(
    ("program", "term", "words"),
    [
        ("mvae", "tc.nwj:weight=-1", "weight -1"),
        ("mvae", "tc.nwjj", "tc has no method 'nwjj'.*Did you mean"),
        ("mvae", "tv.nwj", "no term 'tv.nwj'"),
        ("mvae", "tc.nwj:onn=z", "no option 'onn'.*Did you mean"),
        ("mvae", "tc.nwj:weight", "expected NAME=VALUE"),
        ("mvae", "tc.nwj:weight=much", "no finite float"),
        ("mvae", "tc.nwj:on=y", "no latent of the guide of MVAE; there are z, experts"),
        ("dae", "tc.nwj:on=experts", "no encoder for each modality; choose on=z"),
        ("factors", "tc.nwj", "not fitted by gradient steps"),
        ("mvae", "tc.nwj:steps=0", "at least 1"),
        ("mvae", "tc.wasserstein:dropout=0.4", "dropout"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_before_there_is_a_folder(data, tmp_path, program, term, words):
    with pytest.raises(UsageError, match=words) as caught:
        fit(program, data, terms=[term], out=tmp_path / "run", epochs=2)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_two_of_one_name_are_refused(data):
    with pytest.raises(UsageError, match=r"two terms tc\.nwj\.z"):
        fit("mvae", data, terms=["tc.nwj:on=z", "tc.nwj:weight=1"], **TINY)
