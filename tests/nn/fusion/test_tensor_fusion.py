"""TFN against an explicit outer product, LMF against the explicit tensor that its factors stand for."""

import pytest
import torch

from mmppl.nn.fusion.registry import FUSIONS
from mmppl.nn.fusion.unimodal import with_one

SIZES = {"text": 5, "audio": 3, "video": 4}


def built(name, **hyper):
    torch.manual_seed(0)
    model = FUSIONS[name](SIZES, text_d=6, other_d=2, d=7, **hyper).eval()
    features = {m: torch.randn(8, 4, F) for m, F in SIZES.items()}
    steps = {m: torch.rand(8, 4) < 0.6 for m in SIZES}
    steps["video"][3] = False
    kept = {m: torch.where(steps[m].unsqueeze(-1), x, 0.0) for m, x in features.items()}
    return model, features, steps, [with_one(h) for h in model.embeddings(kept, steps).values()]


def test_tfn_is_an_outer_product(float64):
    model, features, steps, (text, audio, video) = built("tfn")
    product = torch.einsum("bi,bj,bk->bijk", text, audio, video)
    torch.testing.assert_close(model(features, steps), model.head(product.flatten(1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 4])
def test_lmf_is_tensor_fusion_with_a_low_rank_tensor(float64, rank):
    """Values and gradients of the factors, to 1e-8."""
    model, features, steps, (text, audio, video) = built("lmf", rank=rank)
    factors = [model.low_rank[m] for m in SIZES]
    tensor = torch.einsum("r,rid,rjd,rkd->ijkd", model.weight, *factors)  # of (1 + 6)·(1 + 2)·(1 + 2)·d numbers
    product = torch.einsum("bi,bj,bk->bijk", text, audio, video)
    expected = torch.einsum("bijk,ijkd->bd", product, tensor) + model.bias
    found = model(features, steps)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    parameters = list(model.parameters())
    slopes = [torch.autograd.grad(z.sin().sum(), parameters) for z in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)


def test_embeddings_by_hand(float64):
    """Text: LSTM and a linear map; the others: the mean of existing steps and three layers; a missing one is 0."""
    model, features, steps, (text, audio, video) = built("lmf")
    row = 0
    lstm, head = model.embeddings["text"].lstm, model.embeddings["text"].head[1]
    h = lstm(features["text"][row, steps["text"][row]].unsqueeze(1))[0][-1, 0]
    torch.testing.assert_close(text[row], torch.cat([torch.ones(1), h @ head.weight.T + head.bias]))
    h = features["audio"][row, steps["audio"][row]].mean(0)
    for layer in (1, 3, 5):
        linear = model.embeddings["audio"].head[layer]
        h = torch.relu(linear.weight @ h + linear.bias)
    torch.testing.assert_close(audio[row], torch.cat([torch.ones(1), h]))
    assert video[3].tolist() == [1.0, 0.0, 0.0]


def test_a_missing_modality_leaves_the_products_of_the_others(float64):
    """TFN without video: only entries with video's constant 1 remain, and the weights of the rest do not matter."""
    model, features, steps, _ = built("tfn")
    steps["video"][:] = False
    before = model(features, steps)
    weight = model.head[1].weight
    with torch.no_grad():
        weight.view(7, 7, 3, 3)[..., 1:] += 1.0
    assert torch.equal(model(features, steps), before)


@pytest.mark.parametrize(
    "name, hyper, expected",
    [
        # 4·64·(5 + 64 + 2) + 64·6 + 6 for text; (3 + 1)·2 + 2·(2 + 1)·2 and (4 + 1)·2 + 2·(2 + 1)·2 for the others
        ("lmf", {"rank": 3}, 18_174 + 390 + 20 + 22 + 3 * 7 * (7 + 3 + 3) + 3 + 7),
        ("tfn", {}, 18_174 + 390 + 20 + 22 + (7 * 3 * 3 + 1) * 7 + (7 + 1) * 7),
    ],
)
def test_number_of_parameters(name, hyper, expected):
    model, *_ = built(name, **hyper)
    text = 4 * 64 * (5 + 64 + 2)
    assert sum(p.numel() for p in model.parameters()) == expected - 18_174 + text
