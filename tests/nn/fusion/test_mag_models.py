"""MAG on tiny random BERTs and XLNets, which a folder holds as it would hold a pretrained one."""

import copy
import json
import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny_transformers
import torch

from mmppl import DataError, UsageError, align_words
from mmppl.nn.fusion.registry import FUSIONS

SIZES = {"text": 2, "audio": 3, "video": 4}
ROWS = [tiny_transformers.SENTENCE, ["good"], [], ["movie", "bad", "movie", "unbelievable"]]
FAMILIES = ["bert", "xlnet"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("transformers", reason="pip install mmppl[text]")
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HUB_OFFLINE", "1")
    yield {f: getattr(tiny_transformers, f)(tmp_path_factory.mktemp(f)) for f in FAMILIES}
    patch.undo()


@pytest.fixture
def copied(folders, tmp_path):
    """A folder that the test may damage."""
    return lambda family: shutil.copytree(folders[family], tmp_path / family)


def built(folders, family, sizes=SIZES, **hyper):
    torch.manual_seed(0)
    return FUSIONS[f"mag-{family}"](sizes, model=folders[family], **hyper).eval()


def inputs(folders, family, rows=ROWS):
    made = align_words(rows, folders[family])
    steps = {"text": torch.arange(made["text"].shape[1]) < torch.tensor(made["length_text"]).unsqueeze(-1)}
    features = {"text": torch.tensor(made["text"], dtype=torch.get_default_dtype())}
    rng = torch.Generator().manual_seed(1)
    for m, W in (("audio", 5), ("video", 4)):
        steps[m] = torch.arange(W) < torch.tensor([max(len(row), 2) for row in rows]).unsqueeze(-1)
        features[m] = torch.randn(len(rows), W, SIZES[m], generator=rng).to(features["text"].dtype)
    steps["video"][1] = False
    return features, steps


def row(inputs, i):
    """One row, without padding."""
    features, steps = inputs
    return {m: features[m][i : i + 1, steps[m][i]] for m in features}, {
        m: steps[m][i : i + 1, steps[m][i]] for m in steps
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_different_lengths_are_each_row_alone(folders, family, float64):
    """And Z is told apart by text, by audio and by video."""
    model, batch = built(folders, family), inputs(folders, family)
    z = model.fuse(*batch)
    assert z.shape == (4, model.d) and model.d == 8
    for i in (0, 1, 3):
        torch.testing.assert_close(model.fuse(*row(batch, i)), z[i : i + 1], rtol=1e-9, atol=1e-9)
    for m in ("audio", "video"):
        features, steps = batch
        other = model.fuse(features | {m: features[m] + 1}, steps)
        moved = (other - z).abs().amax(1) > 1e-3
        assert moved.tolist() == steps[m].any(1).tolist()


@pytest.mark.parametrize("filler", [math.nan, 1e30, 5.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_fillers_change_no_bit(folders, family, filler):
    model, (features, steps) = built(folders, family).train(), inputs(folders, family)
    results = []
    for value in (0.0, filler):
        torch.manual_seed(1)
        z = model.fuse({m: torch.where(steps[m].unsqueeze(-1), x, value) for m, x in features.items()}, steps)
        slopes = torch.autograd.grad(z.sin().sum(), list(model.parameters()), allow_unused=True)
        results.append([z, *(slope for slope in slopes if slope is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*results))


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_may_stand_on_the_left(folders, family, float64):
    """As XLNet's authors have it: the same Z."""
    model, (features, steps) = built(folders, family), inputs(folders, family)
    text, exists = features["text"].clone(), steps["text"].clone()
    for i, n in enumerate(steps["text"].sum(1).tolist()):
        text[i], exists[i] = text[i].roll(-n, 0), exists[i].flip(0)
    found = model.fuse(features | {"text": text}, steps | {"text": exists})
    torch.testing.assert_close(found, model.fuse(features, steps), rtol=1e-9, atol=1e-9)


def test_xlnet_gives_what_the_library_gives_with_padding_on_the_left(folders, float64):
    """An independent computation: XLNetModel itself on left-padded pieces, its last position summarised."""
    model = built(folders, "xlnet", {"text": 2})
    features, steps = inputs(folders, "xlnet")
    ids, n = features["text"][..., 0].long(), steps["text"].sum(1)
    L = ids.shape[1]
    left, mask, segments = torch.full_like(ids, 5), torch.zeros_like(ids), torch.full_like(ids, 3)
    for i in (0, 1, 3):
        left[i, L - n[i] :], mask[i, L - n[i] :] = ids[i, : n[i]], 1
        segments[i, L - n[i] :], segments[i, -1] = 0, 2
    states = model.encoder(left, attention_mask=mask, token_type_ids=segments).last_hidden_state
    expected = model.summary(states[:, -1])[[0, 1, 3]]
    torch.testing.assert_close(model.fuse(features, steps)[[0, 1, 3]], expected, rtol=1e-9, atol=1e-9)


def test_bert_alone_is_its_pooled_vector(folders, float64):
    model = built(folders, "bert", {"text": 2})
    features, steps = inputs(folders, "bert")
    expected = model.encoder(features["text"][..., 0].long(), attention_mask=steps["text"].long()).pooler_output
    z = model.fuse(features, steps)
    torch.testing.assert_close(z[[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-9, atol=1e-9)


def test_the_gate_stands_after_the_embeddings_of_bert(folders, float64):
    """BERT, layer by layer, with the gate written in by hand; all pieces of a word have its features."""
    model, batch = built(folders, "bert"), inputs(folders, "bert")
    features, steps = row(batch, 0)
    ids, words = features["text"].long().unbind(-1)
    assert words.tolist() == [[-1, 0, 0, 0, 1, 2, -1]]
    beside = {m: torch.cat([features[m], torch.zeros(1, 1, SIZES[m])], 1)[:, words[0]] for m in ("audio", "video")}
    h = model.gate(model.encoder.embeddings.forward(ids), beside)
    for layer in model.encoder.encoder.layer:
        found = layer(h)
        h = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(model.fuse(features, steps), model.encoder.pooler(h), rtol=1e-9, atol=1e-9)


def test_the_gate_stands_before_the_second_layer_of_xlnet(folders, float64):
    """It gets what comes out of the first, with time in front."""
    model, batch = built(folders, "xlnet"), inputs(folders, "xlnet")
    features, steps = row(batch, 0)
    seen = {}
    model.encoder.layer[0].register_forward_hook(lambda layer, i, out: seen.update(first=out[0]))
    model.encoder.layer[1].register_forward_hook(lambda layer, i, out: seen.update(second=i[0]))
    model.fuse(features, steps)
    words = features["text"][..., 1].long()
    beside = {m: torch.cat([features[m], torch.zeros(1, 1, SIZES[m])], 1)[0, words[0]] for m in ("audio", "video")}
    expected = model.gate(seen["first"][:, 0], beside)
    torch.testing.assert_close(seen["second"][:, 0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_without_text_read_masks(folders, family, float64):
    """As many as the other modalities have words, each with the features of its word; without any, special pieces."""
    model, batch = built(folders, family), inputs(folders, family)
    z = model.fuse(*batch)
    features, steps = row(batch, 2)
    cls, sep, mask = model.special.cls, model.special.sep, model.special.mask
    middle = [[mask, 0], [mask, 1]]
    pieces = [[cls, -1], *middle, [sep, -1]] if family == "bert" else [*middle, [sep, -1], [cls, -1]]
    text = torch.tensor([pieces], dtype=torch.float64)
    exists = torch.ones(1, 4, dtype=torch.bool)
    found = model.fuse(features | {"text": text}, steps | {"text": exists})
    torch.testing.assert_close(z[2:3], found, rtol=1e-9, atol=1e-9)

    none = {m: torch.zeros_like(s) for m, s in batch[1].items()}
    z = model.fuse(batch[0], none)
    torch.testing.assert_close(z, z[:1].expand(4, -1), rtol=1e-9, atol=1e-9)
    narrow = {m: x[:, :3] for m, x in batch[0].items()}  # room for one mask only
    assert model.fuse(narrow, {m: s[:, :3] & (m != "text") for m, s in batch[1].items()}).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_parameters_learn(folders, family):
    model = built(folders, family)
    features, steps = inputs(folders, family)
    (model.fuse(features, steps) * torch.randn(4, 8)).sum().backward()
    unused = {"encoder.mask_emb"}  # of XLNet's pretraining
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still <= unused


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_steps_are_few(folders, family):
    """Counted in the first layer, on sentences of MOSI's lengths: at most a fifth more than exist."""
    model = built(folders, family, {"text": 2})
    rng = torch.Generator().manual_seed(0)
    lengths = (torch.randn(48, generator=rng) * 0.65 + 2).exp().round().clamp(3, 16)  # the tiny BERT has 16 places
    steps = torch.arange(16) < lengths.unsqueeze(-1)
    counted = []
    layers = model.encoder.encoder.layer if family == "bert" else model.encoder.layer
    layers[0].register_forward_pre_hook(lambda layer, args: counted.append(args[0].shape[:2].numel()))
    model.fuse({"text": torch.zeros(48, 16, 2)}, {"text": steps})
    assert int(steps.sum()) <= sum(counted) <= 1.2 * int(steps.sum()) and len(counted) <= 8


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_do_not_mix_their_features(folders, family):
    model, (features, steps) = built(folders, family), inputs(folders, family)
    batches = [(features | {"audio": features["audio"] + k}, steps) for k in range(8)]
    with torch.no_grad():
        expected = [model.fuse(*batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda batch: model.fuse(*batch), batches))
    assert all(torch.equal(one, other) for one, other in zip(found, expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_have_a_gate_of_their_own(folders, family):
    model, batch = built(folders, family), inputs(folders, family)
    copied = copy.deepcopy(model)
    z = model.fuse(*batch)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(model.fuse(*batch), z) and not torch.equal(copied.fuse(*batch), z)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_come_from_the_folder_or_are_drawn(folders, family, copied):
    one, other = built(folders, family), built(folders, family, pretrained=False)
    same = built({family: str(copied(family))}, family)
    names = [n for n, p in one.named_parameters() if n.startswith("encoder.") and p.ndim == 2]
    for name in names:
        assert torch.equal(one.get_parameter(name), same.get_parameter(name))
        assert not torch.equal(one.get_parameter(name), other.get_parameter(name))
    assert all(p.dtype == torch.float32 for p in one.parameters())


def test_a_model_that_was_trained_to_fill_in_words_has_no_pooler(folders, copied):
    from transformers import BertConfig, BertForMaskedLM

    folder = copied("bert")
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    assert built({"bert": str(folder)}, "bert").fuse(*inputs(folders, "bert")).isfinite().all()


def damaged(folder, what):
    """Damage a model's folder; return the line that is expected."""
    from safetensors.torch import load_file, save_file

    if what == "no weights":
        (folder / "model.safetensors").unlink()
        return DataError, "has no weights; add model.safetensors, or set pretrained=false"
    if what == "half of the weights":
        weights = load_file(folder / "model.safetensors")
        save_file({n: w for n, w in weights.items() if ".1." not in n}, folder / "model.safetensors", {"format": "pt"})
        return DataError, "its weights lack [0-9]+ of the tensors"
    if what == "weights of another width":
        config = json.loads((folder / "config.json").read_text())
        wide = "intermediate_size" if "intermediate_size" in config else "d_inner"
        (folder / "config.json").write_text(json.dumps(config | {wide: 20}))
        return DataError, "its weights do not fit config.json"
    if what == "weights that are cut off":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
        return DataError, "or are damaged"
    if what == "no vocabulary":
        for file in folder.glob("*o*"):
            if file.name not in ("config.json", "model.safetensors"):
                file.unlink()
        return DataError, "vocabulary"
    if what == "no configuration":
        (folder / "config.json").unlink()
        return DataError, "no config.json that names a model_type"
    if what == "another kind":
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
        return UsageError, "a model of the kind 'gpt2'; known are bert, xlnet"
    raise AssertionError(what)


@pytest.mark.parametrize(
    "what",
    [
        "no weights",
        "half of the weights",
        "weights of another width",
        "weights that are cut off",
        "no vocabulary",
        "no configuration",
        "another kind",
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_incomplete_folders_are_refused(copied, family, what):
    folder = copied(family)
    kind, line = damaged(folder, what)
    with pytest.raises(kind, match=line) as caught:
        built({family: str(folder)}, family)
    assert len(str(caught.value).splitlines()) == 1 and str(folder) in str(caught.value)


def test_the_other_family_is_refused(folders):
    with pytest.raises(UsageError, match="of the kind 'bert'; this network needs 'xlnet'"):
        FUSIONS["mag-xlnet"](SIZES, model=folders["bert"])


def test_what_is_not_at_hand_is_not_downloaded(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"^no-such-owner/no-such-model is neither .*`hf download .*model=FOLDER\.$"):
        FUSIONS["mag-bert"](SIZES, model="no-such-owner/no-such-model")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install mmppl\[text\]"):
        FUSIONS["mag-bert"](SIZES)


def test_features_that_are_no_pieces_are_refused(folders):
    with pytest.raises(UsageError, match="text as word pieces, 2 numbers each, not 300 features; .*align_words"):
        FUSIONS["mag-bert"]({"text": 300, "audio": 3}, model=folders["bert"])
    model, (features, steps) = built(folders, "bert"), inputs(folders, "bert")
    for wrong in (features["text"] + 0.5, features["text"] * 1000, features["text"] - 3):
        with pytest.raises(DataError, match="whole numbers from 0 to 10; make them with mmppl.align_words"):
            model.fuse(features | {"text": wrong}, steps)
    with pytest.raises(ValueError, match="1 word pieces; it needs room for two"):
        model.fuse(features | {"text": features["text"][:, :1]}, steps | {"text": steps["text"][:, :1]})
