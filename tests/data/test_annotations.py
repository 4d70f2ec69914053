"""Annotations: what is known of rows and no program sees, on its way from files through data sets to answers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import mmppl
from mmppl.cli import main
from mmppl.errors import DataError, UsageError

N = 40
AS = {"utterance": "annotation", "noise_x": "annotation"}


def arrays():
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(N, 3)),
        "counts": rng.poisson(3, (N, 2)),
        "label": np.arange(N) % 2,
        "utterance": np.array([f"u{row // 4}" for row in range(N)]),
        "noise_x": np.arange(N) % 5 == 0,
    }


@pytest.fixture
def data():
    return mmppl.read(arrays(), as_=AS)


def test_they_are_no_modalities_and_come_as_they_were(data):
    assert [m.name for m in data.modalities] == ["x", "counts", "label"]
    assert set(data.annotations) == {"utterance", "noise_x"} and data.annotations["noise_x"].dtype == bool
    assert data.annotations["utterance"].tolist() == arrays()["utterance"].tolist()
    batch = data.batch(torch.arange(4), ("x",))
    assert set(batch.values) == set(batch.observed) == {"x", "counts", "label"}
    assert mmppl.read({key: a for key, a in arrays().items() if key not in AS}).annotations == {}


def test_npz_frame_and_parts(tmp_path, data):
    np.savez(tmp_path / "whole.npz", **arrays())
    parts = {f"{key}_{part}": a[at] for key, a in arrays().items() for part, at in PARTS.items()}
    np.savez(tmp_path / "parts.npz", **parts)
    pandas = pytest.importorskip("pandas")
    columns = {key: a for key, a in arrays().items() if a.ndim == 1}
    frame = pandas.DataFrame(columns | {f"x:{i}": arrays()["x"][:, i] for i in range(3)})
    for source in (tmp_path / "whole.npz", tmp_path / "parts.npz", frame):
        found = mmppl.read(source, as_=AS)
        for name in AS:
            assert found.annotations[name].tolist() == data.annotations[name].tolist(), name


PARTS = {"train": slice(0, 30), "test": slice(30, N)}


def test_rows_that_are_chosen_keep_theirs(data):
    rows = torch.tensor([7, 3, 21])
    some = data.take(rows)
    assert some.annotations["utterance"].tolist() == ["u1", "u0", "u5"]
    hidden = mmppl.read(arrays(), as_=AS, hide=0.5)
    assert hidden.whole is not None
    for other in (data.mask_at_random(rate=0.5), data.replaced({}), hidden, hidden.whole):
        assert np.array_equal(other.annotations["noise_x"], data.annotations["noise_x"])


def test_a_fingerprint_depends_on_them(data):
    changed = data.annotations | {"noise_x": ~data.annotations["noise_x"]}
    renamed = {"noise_counts": data.annotations["noise_x"], "utterance": data.annotations["utterance"]}
    as_float = data.annotations | {"noise_x": data.annotations["noise_x"].astype(np.float64)}
    others = [dataclasses.replace(data, annotations=a) for a in (changed, renamed, as_float, {})]
    assert len({one.fingerprint() for one in (data, *others)}) == 5
    swapped = dataclasses.replace(data, annotations=dict(reversed(data.annotations.items())))
    assert swapped.fingerprint() == data.fingerprint()  # their order says nothing
    assert data.fingerprints() == {key: data.fingerprint() for key in ("fingerprint", "unhidden")} | {
        "as_read": data.fingerprints()["as_read"]
    }
    assert others[0].fingerprints()["as_read"] != data.fingerprints()["as_read"]
    wide = dataclasses.replace(data, annotations=data.annotations | {"utterance": arrays()["utterance"].astype("<U9")})
    assert wide.fingerprint() == data.fingerprint()  # the room of strings says nothing either


def test_what_describe_and_the_command_say(tmp_path, data, capsys):
    described = json.loads(json.dumps(data.describe()))["annotations"]
    assert [(one["name"], one["kind"], one["distinct"], one["true"]) for one in described] == [
        ("utterance", "text", 10, None),
        ("noise_x", "bool", 2, 0.2),
    ]
    np.savez(tmp_path / "mine.npz", **arrays())
    words = [part for name in AS for part in ("--as", f"{name}=annotation")]
    assert main(["data", str(tmp_path / "mine.npz"), *words]) == 0
    text = capsys.readouterr().out
    assert "annotations" in text and "10 distinct: u0, u1" in text and "true in 20.0%" in text
    assert main(["data", str(tmp_path / "mine.npz")]) == 0
    assert "annotations" not in capsys.readouterr().out


def test_a_run_takes_those_of_other_data_and_needs_none():
    run = mmppl.fit("factors", arrays(), as_=AS, hyper={"latent_dim": 2})
    assert set(run.data().annotations) == set(AS)
    again = run.dataset(arrays())
    assert set(again.annotations) == set(AS) and [m.name for m in again.modalities] == ["x", "counts", "label"]
    fewer = {"x": arrays()["x"], "utterance": arrays()["utterance"]}
    assert set(run.dataset(fewer).annotations) == {"utterance"}
    answer = run.query(arrays(), given=["x"], want=["label"])
    silent = run.query({key: a for key, a in arrays().items() if key not in AS}, given=["x"], want=["label"])
    rows = [silent.ids.tolist().index(i) for i in answer.ids.tolist()]  # no split is known of data that lack them
    np.testing.assert_allclose(answer["label"]["prob"], silent["label"]["prob"][rows], atol=1e-6)


def test_a_run_reads_recipes_as_its_fit_did_and_passes_over_what_they_lack():
    fitted = mmppl.read("digits-noise:per_class=20", as_={"label": "annotation", "recording": "ignore"})
    as_ = {"label": "annotation", "recording": "ignore", "elsewhere": "annotation"}
    again = mmppl.read("digits-noise:per_class=20", as_=as_, schema=fitted.modalities)
    assert {*again.annotations} == {*fitted.annotations} == {"label", "noise_image", "noise_projection"}
    assert again.fingerprint() == fitted.fingerprint()
    other = mmppl.read({"image": np.zeros((4, 8, 8))}, as_=as_, schema=fitted.modalities)
    assert other.annotations == {} and not other.observed["projection"].any()


def test_modalities_of_a_recipe_can_become_annotations():
    data = mmppl.read("digits-two-view", as_={"label": "annotation"})
    assert [m.name for m in data.modalities] == ["rotated", "noisy"]
    assert data.annotations["label"].tolist() == mmppl.read("digits-two-view").values["label"].tolist()
    left_out = mmppl.read(data, as_={"label": "ignore"})
    assert left_out.annotations == {} and len(left_out.modalities) == 2
    with pytest.raises(UsageError, match="is an annotation of digits-two-view"):
        mmppl.read(data, as_={"label": "normal"})
    with pytest.raises(DataError, match=r"shape \(1797, 8, 8\).*one value per row"):
        mmppl.read("digits-two-view", as_={"noisy": "annotation"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"utterance": np.arange(N - 1)}, "'utterance' has 39 values where there are 40 rows"),
        ({"utterance": np.zeros((N, 2))}, r"shape \(40, 2\); an annotation has one value per row"),
        ({"utterance": np.where(np.arange(N) == 3, np.nan, 1.0)}, "'utterance', row 3 is empty"),
        ({"utterance": [None if row == 5 else f"u{row}" for row in range(N)]}, "'utterance', row 5 is empty"),
        ({"mask_utterance": np.arange(N) != 6}, "'utterance', row 6 is empty"),
    ],
)
def test_wrong_ones_are_told_in_one_line(wrong, message):
    with pytest.raises(DataError, match=message) as error:
        mmppl.read(arrays() | wrong, as_=AS)
    assert "\n" not in str(error.value)


def test_a_data_set_checks_its_own(data):
    for annotations, message in (
        ({"x": np.zeros(N)}, "'x' is a modality and an annotation"),
        ({"when": np.zeros(N, "datetime64[s]")}, "true and false, numbers or strings"),
        ({"recording": np.zeros(N - 2)}, "38 values where there are 40 rows"),
        ({"recording": list(range(N))}, "one value per row"),
    ):
        with pytest.raises(DataError, match=message):
            dataclasses.replace(data, annotations=annotations)


@pytest.mark.parametrize(
    ("as_", "message"),
    [
        ({"id": "annotation"}, "meanings of their own"),
        ({"uterance": "annotation"}, "Did you mean utterance"),
        ({"utterance": "annotation:role=label"}, "annotation takes no keys"),
        ({"utterance": "anotation"}, "Did you mean annotation"),
    ],
)
def test_wrong_words(as_, message):
    with pytest.raises(UsageError, match=message):
        mmppl.read(arrays() | {"id": np.arange(N)}, as_=as_)
