"""What holds for every fusion network: nothing under a mask counts, rows are independent, all parameters learn."""

import math

import pytest
import torch

from mmppl import FusionNetwork, UsageError, fusion_network
from mmppl.nn.fusion.registry import FUSIONS

SIZES = {"text": 5, "audio": 3, "video": 4}
NAMES = ["ef-lstm", "lf-lstm", "lmf", "mfn", "tfn"]  # the others need transformers: test_mag_models.py
ALIGNED = ["ef-lstm", "mfn"]
EMBEDDED = ["lf-lstm", "lmf", "mfn", "tfn"]
FILLERS = [math.nan, math.inf, 1e30, -7.0]


def inputs(name="", rows=6, seed=0):
    """Features and steps: rows of different lengths, gaps, a modality that a row lacks, and a row that lacks all."""
    rng = torch.Generator().manual_seed(seed)
    lengths = dict.fromkeys(SIZES, 5) if name in ALIGNED else {"text": 5, "audio": 7, "video": 2}
    features = {m: torch.randn(rows, lengths[m], F, generator=rng) for m, F in SIZES.items()}
    steps = {m: torch.rand(rows, lengths[m], generator=rng) < 0.7 for m in SIZES}
    steps["audio"][1] = False
    for m in SIZES:
        steps[m][2] = False
    return features, steps


def network(name, sizes=SIZES, **hyper):
    torch.manual_seed(0)
    return FUSIONS[name](sizes, **hyper).eval()


def test_names():
    assert list(FUSIONS) == ["ef-lstm", "lf-lstm", "lmf", "mag-bert", "mag-xlnet", "mfn", "tfn"]


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("name", NAMES)
def test_fillers_change_no_bit(name, filler):
    """Of Z, and of the gradients of all parameters; also in training, with the same random draws."""
    model = network(name).train()
    features, steps = inputs(name)
    results = []
    for value in (0.0, filler):
        filled = {m: torch.where(steps[m].unsqueeze(-1), x, value) for m, x in features.items()}
        torch.manual_seed(1)
        z = model.fuse(filled, steps)
        results.append([z, *torch.autograd.grad(z.sin().sum(), list(model.parameters()))])
    assert all(torch.equal(one, other) for one, other in zip(*results))
    assert all(part.isfinite().all() for part in results[0])


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name, float64):
    """Steps that exist nowhere may stand anywhere: only the order of the existing ones counts."""
    model = network(name)
    features, steps = inputs(name)
    features = {m: x.double() for m, x in features.items()}
    pads = (2, 1)
    wider = {m: torch.nn.functional.pad(x, (0, 0, *pads), value=math.nan) for m, x in features.items()}
    later = {m: torch.nn.functional.pad(s, pads) for m, s in steps.items()}
    torch.testing.assert_close(model(wider, later), model(features, steps), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent(name, float64):
    """Permuted rows give permuted Z, and each row alone gives its Z."""
    model = network(name)
    features, steps = inputs(name)
    features = {m: x.double() for m, x in features.items()}
    z = model(features, steps)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = model({m: x[order] for m, x in features.items()}, {m: s[order] for m, s in steps.items()})
    torch.testing.assert_close(permuted, z[order], rtol=1e-12, atol=1e-12)
    for i in range(len(z)):
        alone = model({m: x[i : i + 1] for m, x in features.items()}, {m: s[i : i + 1] for m, s in steps.items()})
        torch.testing.assert_close(alone, z[i : i + 1], rtol=1e-12, atol=1e-12)
    assert z.unique(dim=0).shape[0] == len(z)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_every_number_of_the_input_has_a_gradient(name):
    model = network(name)
    features, steps = inputs(name, rows=64)
    features = {m: x.requires_grad_() for m, x in features.items()}
    z = model(features, steps)
    weights = torch.randn(z.shape)
    wanted = [*model.parameters(), *features.values()]
    gradients = torch.autograd.grad((z * weights).sum(), wanted)
    for (label, _), gradient in zip(model.named_parameters(), gradients):
        assert gradient.abs().sum() > 0, label
    for m, gradient in zip(features, gradients[-len(SIZES) :]):
        assert ((gradient != 0).any(-1) <= steps[m]).all()
        assert (gradient != 0).flatten(0, 1).any(0).all()


@pytest.mark.parametrize("name", EMBEDDED)
def test_embeddings_are_of_one_modality_alone(name):
    """Z is the same with and without them; each depends on nothing but its modality, and is 0 in rows that lack it."""
    model = network(name)
    features, steps = inputs(name)
    z, embeddings = model.fuse_embedded(features, steps)
    assert torch.equal(z, model(features, steps)) and list(embeddings) == list(SIZES)
    assert {m: h.shape[1] for m, h in embeddings.items()} == model.widths
    lacks = {m: ~s.any(1) for m, s in steps.items()}
    assert all(h[lacks[m]].eq(0).all() and h[~lacks[m]].abs().sum() > 0 for m, h in embeddings.items())
    other = features | {"audio": features["audio"] + 1}
    for m, h in model.fuse_embedded(other, steps)[1].items():
        assert torch.equal(h, embeddings[m]) == (m != "audio")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [{"only": 3}, {"a": 2, "b": 3}, dict.fromkeys("abcd", 2)], ids=len)
def test_any_number_of_modalities(name, sizes):
    model = network(name, sizes, d=7)
    features = {m: torch.randn(4, 3, F) for m, F in sizes.items()}
    steps = {m: torch.ones(4, 3, dtype=torch.bool) for m in sizes}
    assert model(features, steps).shape == (4, 7) == (4, model.d)


@pytest.mark.parametrize("name", NAMES)
def test_text_is_a_role(name):
    """The first modality unless another is named; the order of concatenations stays."""
    assert network(name).text == "text" and network(name, text="video").text == "video"
    if name in ("tfn", "lmf"):
        assert hasattr(network(name, text="video").embeddings["video"], "lstm")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows, length", [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_fuse(name, rows, length):
    """No row, and rows of no step: Z is that of rows without any modality."""
    model = network(name)
    features = {m: torch.zeros(rows, length, F) for m, F in SIZES.items()}
    steps = {m: torch.zeros(rows, length, dtype=torch.bool) for m in SIZES}
    z = model(features, steps)
    none = model({m: torch.zeros(1, 4, F) for m, F in SIZES.items()},
                 {m: torch.zeros(1, 4, dtype=torch.bool) for m in SIZES})  # fmt: skip
    torch.testing.assert_close(z, none.expand(rows, -1))


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast(name):
    """Z is float32, near that of float32, and trains."""
    model = network(name)
    features, steps = inputs(name)
    expected = model(features, steps)
    with torch.autocast("cpu", torch.bfloat16):
        z = model(features, steps)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, expected, rtol=0.1, atol=0.1)
    z.sum().backward()


@pytest.mark.parametrize("name", ["tfn", "lmf", "lf-lstm", "ef-lstm"])
def test_one_step_per_row_is_the_same_code_for_every_batch(name, float64):
    """T = 1 goes another way through the LSTM, which a recorded step can take; it gives the same numbers."""
    model = network(name)
    features, steps = inputs(name)
    features, steps = ({m: x[:, :1] for m, x in both.items()} for both in (features, steps))
    features = {m: x.double() for m, x in features.items()}
    wider = {m: torch.nn.functional.pad(x, (0, 0, 1, 1)) for m, x in features.items()}
    later = {m: torch.nn.functional.pad(s, (1, 1)) for m, s in steps.items()}
    torch.testing.assert_close(model(features, steps), model(wider, later), rtol=1e-12, atol=1e-12)

    from torch.fx.experimental.proxy_tensor import make_fx

    recorded = make_fx(lambda x, s: model(dict(zip(SIZES, x)), dict(zip(SIZES, s))))(
        list(features.values()), list(steps.values())
    )
    other, flipped = {m: x + 1 for m, x in features.items()}, {m: ~s for m, s in steps.items()}
    torch.testing.assert_close(recorded(list(other.values()), list(flipped.values())), model(other, flipped))


@pytest.mark.parametrize("name", ["lf-lstm", "mfn"])
def test_lengths_are_not_frozen_into_a_recording(name):
    from torch.fx.experimental.proxy_tensor import make_fx

    model = network(name)
    features, steps = inputs(name)
    with pytest.raises(RuntimeError, match="data-dependent"):
        make_fx(lambda x, s: model(dict(zip(SIZES, x)), dict(zip(SIZES, s))))(
            list(features.values()), list(steps.values())
        )


@pytest.mark.parametrize("name", ALIGNED)
def test_unaligned_steps_are_refused(name):
    features, steps = inputs("lf-lstm")
    with pytest.raises(ValueError, match=r"text 5, audio 7, video 2 steps; align them .* lf-lstm"):
        network(name)(features, steps)


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda f, s: f.pop("audio"), r"audio absent .* zeros without a True step"),
        (lambda f, s: s.pop("video"), "video absent"),
        (lambda f, s: f.update(text=f["text"][..., :4]), r"text has features \(6, 5, 4\) .* expected \(B, T, 5\)"),
        (lambda f, s: f.update(text=f["text"][:5]), r"text has features \(5, 5, 5\)"),
        (lambda f, s: f.update(text=f["text"][:5]) or s.update(text=s["text"][:5]), "one B for all"),
        (lambda f, s: f.update(text=f["text"][:, 0]), r"features \(6, 5\) and"),
        (lambda f, s: s.update(text=s["text"].long()), "int64 steps"),
        (lambda f, s: f.update(text=f["text"].long()), "int64 features"),
    ],
)
def test_what_does_not_fit_is_refused(change, line):
    features, steps = inputs()
    change(features, steps)
    with pytest.raises(ValueError, match=line):
        network("lmf")(features, steps)


@pytest.mark.parametrize(
    "name, sizes, hyper, line",
    [
        ("tfn", {}, {}, "no modality"),
        ("tfn", {"a": 0}, {}, "a 0 features"),
        ("lmf", SIZES, {"d": 0}, "d=0"),
        ("lmf", SIZES, {"rank": 0}, "rank 0"),
        ("lmf", SIZES, {"text": "test"}, "no modality 'test'.*Did you mean text"),
        ("tfn", dict.fromkeys("abcde", 3), {}, "216,513 numbers per row, more than 100,000; .* lmf"),
        ("mfn", SIZES, {"hidden": (8, 8)}, "2 widths of LSTMs for 3 modalities"),
        ("mfn", SIZES, {"widths": (8, 8)}, "2 widths and 4 dropouts"),
        ("mnf", SIZES, {}, "no fusion network 'mnf'.*Did you mean mfn"),
    ],
)
def test_impossible_networks_are_refused(name, sizes, hyper, line):
    with pytest.raises(UsageError, match=line):
        network(name, sizes, **hyper)


@pytest.mark.parametrize("name", NAMES)
def test_published_configurations_can_be_built(name):
    for preset in FUSIONS[name].presets.values():
        features, steps = inputs(name)
        assert network(name, **preset)(features, steps).shape == (6, preset["d"])


def test_only_fusion_networks_are_registered():
    with pytest.raises(UsageError, match="lacks the base class"):
        fusion_network("mine")(torch.nn.Linear)
    with pytest.raises(UsageError, match="lacks the method _fuse"):
        fusion_network("mine")(type("Mine", (FusionNetwork,), {}))
