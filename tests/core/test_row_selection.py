"""Decoders leave out rows that are not scored: the same terms and gradients, fewer rows decoded."""

from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch

from mmppl import Batch, all_subsets, load_program, observe, read, standard_normal
from mmppl.core import row_selection
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.train.step import Step

DEFAULT, MOPOE, CMMD, MMVAE = (load_program(name) for name in ("mvae", "mopoe", "cmmd", "mmvae"))


def with_options(**options):
    """MVAE with other options than its own."""
    return lambda modalities, **hyper: DEFAULT(modalities, **hyper, **options)


MVAE = with_options(scored="observed")
SEEN = with_options(cross=0.0)
SAMPLED = with_options(subsets="sampled", scored="observed", extra=1)
SAMPLED_SEEN = with_options(subsets="sampled", cross=0.0, extra=2)


class Unpacked(DEFAULT):
    """The same, decoding everything."""

    def model(self, batch):
        with batch.plates():
            z = pyro.sample("z", standard_normal(self.latent_dim, like=self.progress))
            for m in self.each_modality():
                observe(m, lambda z, m=m: self.decoders[m.name](z), z, batch)


@pytest.fixture(autouse=True)
def picking_is_free(monkeypatch):
    """So that small networks leave out rows, too."""
    monkeypatch.setattr(row_selection, "PICKING", 0.0)
    monkeypatch.setattr(row_selection, "GATHERING", 0.0)


@pytest.fixture(scope="module", params=[0.0, 0.3, 0.6])
def data(request):
    return read("digits-three").mask_at_random(rate=request.param, seed=1)


@pytest.fixture
def everything(monkeypatch):
    """outcome(...) when decoders leave nothing out."""

    def found(cls, data, **options):
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "selection", lambda self, modality, weight: None)
            return outcome(cls, data, None, **options)

    return found


def outcome(cls, data, patterns, rows=range(90), dtype=torch.float64):
    """(terms and gradients, rows that each decoder saw)."""
    torch.manual_seed(0)
    program = cls(data.modalities, hidden=16, latent_dim=4, dropout=0.0).to(dtype).train()  # it draws per decoded row
    decode = {}
    for name, decoder in program.decoders.items():
        decoder.register_forward_hook(lambda _, given, out, name=name: decode.update({name: out[..., 0].numel()}))
    batch = replace(data.batch(torch.tensor(rows), program.encoded), patterns=patterns)
    values = {n: v.to(dtype) if v.is_floating_point() else v for n, v in batch.values.items()}
    torch.manual_seed(1)
    found = Step(program)(replace(batch, values=values))
    return [found.loss, *found.values.values(), *(p.grad for p in program.parameters())], decode


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cls", [DEFAULT, MVAE, SEEN, SAMPLED, SAMPLED_SEEN, MOPOE, MMVAE])
def test_terms_and_gradients_are_the_same(data, cls, everything):
    packed, fewer = outcome(cls, data, MissingnessPatterns.of(data.observed))
    whole, every = everything(cls, data)
    torch.testing.assert_close(packed, whole, rtol=1e-10, atol=1e-12)
    missing = 1 - data.observed["image"].double().mean()
    for name in every:
        if cls in (SAMPLED, SAMPLED_SEEN) and name == "label":  # of a row's subsets few drop out
            saved = missing > 0.5
        elif cls is MOPOE:  # no subsets: only the rows without this modality are left out, beyond a margin
            saved = missing > 0.5 and name != "label"
        else:
            saved = missing > 0.2 or (cls in (DEFAULT, SEEN, SAMPLED_SEEN) and name != "label")
        assert (fewer[name] <= 0.9 * every[name]) == saved, (name, fewer[name], every[name])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cls, share", [(SEEN, 4 / 7), (SAMPLED_SEEN, 4 / 6), (MVAE, 1), (SAMPLED, 1)])
def test_subsets_that_cannot_score_are_left_out_whatever_rows_have(data, cls, share, everything):
    """Of 7 subsets 4 hold a modality; of the whole, each alone and two drawn ones, two and the drawn ones."""
    without, fewer = outcome(cls, data, None)
    whole, every = everything(cls, data)
    torch.testing.assert_close(without, whole, rtol=1e-10, atol=1e-12)
    assert fewer == {n: round(every[n] * (1 if n == "label" else share)) for n in every}


@pytest.mark.usefixtures("float64")
def test_conditional_programs_leave_out_rows_without_their_conditions(data, everything):
    """CMMD with the image as x_O: neither rows without it, nor those without what is decoded."""
    packed, fewer = outcome(CMMD, data, MissingnessPatterns.of(data.observed))
    whole, every = everything(CMMD, data)
    torch.testing.assert_close(packed, whole, rtol=1e-10, atol=1e-12)
    missing = 1 - data.observed["image"].double().mean()
    assert fewer.keys() == {"profile", "word"}
    assert all((fewer[n] <= 0.7 * every[n]) == (missing > 0.5) for n in fewer)


@pytest.mark.usefixtures("float64")
def test_a_program_that_decodes_everything_is_scored_as_before(data):
    packed, every = outcome(Unpacked, data, MissingnessPatterns.of(data.observed))
    whole, same = outcome(Unpacked, data, None)
    assert every == same and all(torch.equal(a, b) for a, b in zip(packed, whole))


@pytest.mark.parametrize("scored", ["observed", "seen", "unseen"])
@pytest.mark.parametrize("cut", [False, True])
def test_counts_are_those_of_the_batch(data, scored, cut):
    """Of every pattern, by the batch's own masks; of drawn subsets the most that they can be."""
    patterns, subsets = MissingnessPatterns.of(data.observed), all_subsets(3)
    encoded = ("image", "profile", "word")
    under = patterns.under(subsets.numpy(), encoded, scored, cut=cut, drawn=2)
    batch = data.batch(torch.arange(len(data)), encoded).under(subsets, scored, cut=cut)
    observed = torch.stack(list(data.observed.values()), -1).numpy()
    for name in data.observed:
        column, counted = under.names.index(name), (batch.active & batch.scored[name]).sum(0).numpy()
        for pattern, count, has in zip(under.table, under.counts[:, column], under.table[:, column]):
            assert (counted[(observed == pattern).all(-1)] + 2 * has == count).all()


def test_there_is_room_for_nearly_every_batch():
    """2,000 random batches: at five standard deviations the normal law expects 0.0006 without room."""
    data = read("digits-three").mask_at_random(rate=0.6, seed=1)
    patterns = MissingnessPatterns.of(data.observed)
    patterns = patterns.under(all_subsets(3).numpy(), ("image", "profile", "word"), "observed")
    observed = torch.stack(list(data.observed.values()), -1).numpy()
    column = patterns.names.index("image")
    of_row = np.zeros(len(observed), dtype=int)
    for pattern, counts in zip(patterns.table, patterns.counts):
        of_row[(observed == pattern).all(-1)] = counts[column]
    room, rng = patterns.room("image", 128), np.random.default_rng(0)
    needed = np.array([of_row[rng.integers(0, len(of_row), 128)].sum() for _ in range(2000)])
    assert needed.max() <= room < 0.5 * 7 * 128


@pytest.mark.parametrize("replay", [False, True])
def test_a_batch_without_room_is_computed_whole(replay):
    """Rooms made for 60 % missing, some batches that miss nothing: their steps are the unpacked ones, bit for bit."""
    full = read("digits-three")
    holes = full.mask_at_random(rate=0.6, seed=1)
    patterns = MissingnessPatterns.of(holes.observed)

    def losses(patterns, decide):
        torch.manual_seed(0)
        program = MVAE(full.modalities, hidden=16, dropout=0.2).train()
        step, found = Step(program, replay=replay), []
        for i, data in enumerate([holes, holes, full, holes, full]):
            batch = data.batch(torch.arange(64) + 64 * i, program.encoded)
            found.append(step(replace(batch, patterns=decide(data, patterns))).loss.item())
        return found

    assert losses(patterns, lambda data, p: p) == losses(patterns, lambda data, p: p if data is holes else None)


def test_what_lies_under_the_mask_does_not_matter(data):
    def holed(filler):
        values = {
            n: torch.where(data.observed[n].reshape(-1, *[1] * (v.ndim - 1)), v, filler) if v.is_floating_point() else v
            for n, v in data.values.items()
        }
        return replace(data, values=values)

    patterns = MissingnessPatterns.of(data.observed)
    for cls in (MVAE, SEEN, SAMPLED_SEEN, MOPOE):
        want, _ = outcome(cls, holed(0.0), patterns, dtype=torch.float32)
        for filler in (1000.0, float("nan")):
            got, _ = outcome(cls, holed(filler), patterns, dtype=torch.float32)
            assert all(torch.equal(a, b) for a, b in zip(got, want))


def test_an_output_for_all_subsets_alike_is_not_taken_for_chosen_rows():
    """Each row has one of two modalities and the label: the label's room would be just the batch."""
    n = 64
    has = torch.arange(2 * n) % 2 == 0
    observed = {"a": has, "b": ~has, "y": torch.ones(2 * n, dtype=torch.bool)}
    patterns = MissingnessPatterns.of(observed).under(all_subsets(2).numpy(), ("a", "b"), "observed")
    assert patterns.room("y", n) != n


def batch_of(data, program, patterns=True):
    """64 rows, with what is known of the data's patterns."""
    batch = data.batch(torch.arange(64), program.encoded)
    return replace(batch, patterns=MissingnessPatterns.of(data.observed)) if patterns else batch


def decoded(program, batch, z, decoder=None):
    """Shape of the latents that a decoder of the image gets."""
    shapes = []
    decoder = decoder or program.decoders["image"]
    network = decoder.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    with batch.plates():
        observe(program.modality("image"), decoder, z, batch)
    network.remove()
    return shapes


def test_own_subsets_leave_out_no_rows(data):
    """`seen` that did not come from `under`: how many rows count is not known."""
    program = MVAE(data.modalities, hidden=16, latent_dim=4)
    batch = batch_of(data, program)
    batch = replace(batch, seen=batch.seen & torch.ones(4, 1, 3, dtype=torch.bool))
    assert decoded(program, batch, torch.randn(4, 64, 4)) == [(4, 64, 4)]


def test_what_is_sampled_is_decoded_everywhere_and_what_nobody_reads_nowhere(data):
    program = MVAE(data.modalities, hidden=16, latent_dim=4)
    batch, z = batch_of(data, program).under(all_subsets(3)), torch.randn(7, 64, 4)
    with pyro.poutine.trace() as made:
        assert decoded(program, batch.wanting(["image"]), z) == [(7, 64, 4)]
    site = made.trace.nodes["image"]
    assert not site["is_observed"] and site["infer"]["leaf"] and site["fn"].mean.shape == (7, 64, 8, 8)
    with pyro.poutine.trace() as made:
        assert decoded(program, batch.wanting(["word"]), z) == []
    assert "image" not in made.trace.nodes


def test_other_latents_than_the_batchs_are_decoded_as_they_are(data):
    """Draws of a query stand in front; a classifier's code may lack the subsets."""
    program = MVAE(data.modalities, hidden=16, latent_dim=4)
    batch = batch_of(data, program).under(all_subsets(3))
    for shape in ((64, 4), (2, 7, 64, 4)):
        assert decoded(program, batch, torch.randn(shape)) == [shape]


def test_an_output_that_is_there_already_is_scored(data):
    program = MVAE(data.modalities, hidden=16, latent_dim=4)
    image, batch, z = program.modality("image"), batch_of(data, program).under(all_subsets(3)), torch.randn(7, 64, 4)
    output, found = program.decoders["image"](z), []
    for decoder in (program.decoders["image"], lambda _: output):
        with pyro.poutine.trace() as made, batch.plates():
            observe(image, decoder, z, batch)
        site = made.trace.nodes["image"]
        found.append(torch.where(site["mask"], site["fn"].log_prob(site["value"]), 0.0))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("rows", "rate", "hidden", "features", "fewer"),
    [(128, 0.3, 256, 64, True), (128, 0.6, 64, 64, True), (32, 0.3, 64, 64, False), (128, 0.3, 16, 64, False),
     (128, 0.3, 64, 784, False), (128, 0.0, 256, 64, False)],
)  # fmt: skip
def test_rows_are_left_out_where_that_was_measured_to_pay(rows, rate, hidden, features, fewer, monkeypatch):
    """A step's time, packed over whole, was 0.81, 0.88, 1.13, 1.03, 1.00 and (nothing to leave out) 1."""
    monkeypatch.undo()
    observed = {n: torch.rand(20_000, generator=torch.Generator().manual_seed(i)) >= rate for i, n in enumerate("abc")}
    patterns = MissingnessPatterns.of(observed).under(all_subsets(3).numpy(), ("a", "b", "c"), "observed")
    subsets = all_subsets(3).unsqueeze(1)
    seen = torch.stack([o[:rows] for o in observed.values()], -1)
    counted = ((seen | ~subsets).all(-1)) & observed["b"][:rows]
    weight = 20 * hidden + hidden**2 + hidden * features
    slots = patterns.slots("b", counted, 7 * rows, weight, features)
    assert (slots is not None) == fewer


def test_a_modality_that_no_row_has_leaves_room_for_networks():
    observed = {"a": torch.ones(50, dtype=torch.bool), "b": torch.zeros(50, dtype=torch.bool)}
    patterns = MissingnessPatterns.of(observed).under(all_subsets(2).numpy(), ("a", "b"), "observed")
    assert patterns.room("b", 32) == 8


def test_selected_rows_refuse_what_they_cannot_do():
    from mmppl.core.row_selection import SelectedRows
    from mmppl.modalities.likelihoods.registry import LIKELIHOODS

    modality = read("digits-three").modalities[0]
    chosen = LIKELIHOODS[modality.likelihood](modality, torch.zeros(3, 64))
    site = SelectedRows(chosen, torch.arange(3), torch.Size((7, 10)))
    with pytest.raises(AttributeError, match="no probs; decode z itself"):
        _ = site.probs
