"""CMMD: what the terms of rows that lack something weigh, its two stages, tags as its label, and the paper's sizes."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import mmppl
from mmppl import Dataset, UsageError, load_program
from mmppl.kernels.mmd import mmd2, paper_kernel
from mmppl.objectives.traces import trace
from mmppl.train.settings import settings_for

ROWS, LABELLED = 60, 20
SMALL = dict(hidden=8, latent_dim=3, layers=1)


def arrays():
    """Two views of the same numbers and three tags of them, which only the first rows have."""
    r = np.random.default_rng(0)
    u = r.normal(size=(ROWS, 2))
    tags = (u @ r.normal(size=(2, 3)) > 0).astype(float)
    tags[LABELLED:] = np.nan
    views = (u @ r.normal(size=(2, n)) + 0.1 * r.normal(size=(ROWS, n)) for n in (4, 5))
    return dict(zip(("o", "m"), views)) | {"tags": tags, "split": np.array(["train"] * ROWS)}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return mmppl.read(arrays(), target="tags")


def program_on(data, **hyper):
    torch.manual_seed(0)
    return load_program("cmmd")(data.modalities, **SMALL | hyper)


def lacking(data, name, rows):
    """The same rows, of which these lack a modality."""
    observed = data.observed[name].clone()
    observed[rows] = False
    return dataclasses.replace(data, observed=data.observed | {name: observed})


def values(program, batch):
    torch.manual_seed(1)
    with torch.no_grad():
        return {name: value.item() for name, (value, _) in program.objective(batch).items()}


@pytest.mark.parametrize("n", [2, 3])
def test_the_ratio_of_the_terms_does_not_depend_on_how_many_rows_lack_what_is_generated(data, n):
    """Over all choices of the n of 6 rows that have it, each term is n/6 of what it is where all have it."""
    program = program_on(data).double().eval()
    six = dataclasses.replace(data.take(torch.arange(6)))
    six = dataclasses.replace(six, values={name: value.double() for name, value in six.values.items()})

    def of(rows):
        missing = [i for i in range(6) if i not in rows]
        return values(program, lacking(six, "m", missing).batch(torch.arange(6), program.encoded))

    whole = of(range(6))
    found = [of(rows) for rows in itertools.combinations(range(6), n)]
    for name in ("mmd.z", "kl.z", "nll.m"):
        assert np.mean([terms[name] for terms in found]) == pytest.approx(n / 6 * whole[name], rel=1e-6), name
        assert whole[name] != 0
    assert all(terms["nll.tags"] == whole["nll.tags"] for terms in found)


def test_where_nothing_lacks_the_mmd_is_the_v_statistic_to_the_bit(data):
    program = program_on(data).eval()
    batch = data.batch(torch.arange(LABELLED), program.encoded)
    torch.manual_seed(1)
    with torch.no_grad():
        traces = trace(program, batch.requiring(["o"]))
        q, prior = traces.value("z"), traces.model.nodes["z"]["fn"].rsample()
    assert values(program, batch)["mmd.z"] == mmd2(q, prior, paper_kernel(3)).item()


def test_at_first_rows_teach_without_labels_and_then_those_with_a_label(data):
    """The weights that see or make tags keep their bits in the first stage; what rows without tags hold does not matter
    in the second."""
    seen = {}

    class Watch(mmppl.Callback):
        def on_start(self, fit):
            self.on_epoch(fit, {"epoch": 0})

        def on_epoch(self, fit, line):
            seen[line["epoch"]] = {n: p.detach().clone() for n, p in fit.program.named_parameters()}

    hyper = SMALL | dict(two_stage=True, unlabelled_share=0.25)
    run = mmppl.fit("cmmd", data, hyper=hyper, epochs=4, batch_size=16, callbacks=[Watch()])
    assert [line["stage"] for line in run.metrics] == ["unlabelled", *["labelled"] * 3]
    assert all(line["weights"]["nll.tags"] == (0 if line["stage"] == "unlabelled" else 10) for line in run.metrics)
    own = [name for name in seen[0] if name.startswith("classifiers.")]
    first = next(name for name in seen[0] if name.startswith("encoder.") and name.endswith("weight"))
    views = data.modalities[0].size + data.modalities[1].size
    assert own and all(torch.equal(seen[0][name], seen[1][name]) for name in own)
    assert torch.equal(seen[0][first][:, views:], seen[1][first][:, views:])
    assert not torch.equal(seen[0][first][:, :views], seen[1][first][:, :views])
    assert not torch.equal(seen[1][first][:, views:], seen[2][first][:, views:])
    assert all(not torch.equal(seen[1][name], seen[2][name]) for name in own)

    program = run.program.train()
    other = data.values | {"m": data.values["m"].clone()}
    other["m"][LABELLED:] += 1
    program.stage = "labelled"
    batches = [
        dataclasses.replace(data, values=v).batch(torch.arange(ROWS), program.encoded) for v in (data.values, other)
    ]
    assert values(program, batches[0]) == values(program, batches[1])
    program.stage = "unlabelled"
    assert values(program, batches[0]) != values(program, batches[1])
    program.stage = ""


@pytest.mark.parametrize("epoch", [3, *(pytest.param(epoch, marks=pytest.mark.slow) for epoch in (2, 4))])
def test_resumed_within_a_stage_or_between_two_to_the_same_bits(data, epoch, tmp_path, monkeypatch):
    """Stopped in the first batch of an epoch; the second stage begins with the third."""
    monkeypatch.setattr("mmppl.train.callbacks.CHECKPOINT_SHARE", 1e9)
    given = dict(hyper=SMALL | {"two_stage": True}, epochs=4, batch_size=16)
    whole = mmppl.fit("cmmd", data, out=tmp_path / "whole", **given)

    def stop(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mmppl.fit("cmmd", data, out=tmp_path / "run", on_step=stop, **given)
    again = mmppl.fit("cmmd", data, out=tmp_path / "run", resume=True, **given)
    for name, value in whole.program.state_dict().items():
        assert torch.equal(value, again.program.state_dict()[name]), name


def test_tags_are_classified_and_scored(data):
    run = mmppl.fit("cmmd", data, hyper=SMALL | {"alpha": 100.0}, epochs=1, batch_size=16)
    answer = run.query({"o": arrays()["o"][:5]}, given=["o"], want=["tags"]).want["tags"]
    assert answer["mean"].shape == (5, 3) and ((answer["mean"] > 0) & (answer["mean"] < 1)).all()
    labelled = data.take(torch.arange(LABELLED))
    names = [f"{name}{way}.tags" for name in ("average_precision", "auc") for way in ("", "_micro")]
    found = run.evaluate(labelled, split="all", conditioning_sets=["o"], metrics=names)["metrics"]
    assert all(0 <= found[name]["o"] <= 1 for name in names)


@pytest.mark.parametrize(
    ("hyper", "without", "says"),
    [
        (dict(two_stage=True), "tags", "needs a label"),
        (dict(two_stage=True, generative=False), "", "needs a label, and generative=true"),
        (dict(two_stage=True, unlabelled_share=1.0), "", "unlabelled_share=1.0 is not above 0 and below 1"),
    ],
    ids=["no label", "no decoder", "share"],
)
def test_stages_that_cannot_be(data, hyper, without, says):
    modalities = [m for m in data.modalities if m.name != without]
    with pytest.raises(UsageError, match=f"^[^\n]*{says}[^\n]*$"):
        load_program("cmmd")(modalities, **hyper)


@pytest.mark.parametrize(
    ("preset", "encoder", "prior", "classifier", "latent"),
    [
        ("paper-mnist", [2500] * 3, [1024] * 3, [50] * 2, 50),
        ("paper-xrmb", [3000] * 3, [1500] * 3, [100] * 2, 70),
        ("paper-flickr", [2048] * 4, [1024] * 4, [1550] * 2, 1024),
    ],
)
def test_presets_have_the_sizes_of_the_paper(data, preset, encoder, prior, classifier, latent):
    hyper, training = settings_for(load_program("cmmd"), {}, preset)
    with torch.device("meta"):  # weights without memory
        program = load_program("cmmd")(data.modalities, **hyper)

    def hidden(network):
        return [m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)][:-1]

    networks = program.encoder, program.prior, program.decoders["m"], program.classifiers["tags"]
    assert [hidden(network) for network in networks] == [encoder, prior, prior, classifier]
    assert program.latent_dim == latent and (training.batch_size, training.lr) == (100, 1e-4)
    assert program.two_stage == (preset == "paper-flickr")
