"""MAG on tiny transformers that are trained here: does audio help them on CMU-MOSI?

    python tests/benchmarks/mag.py --root DATA [--family bert xlnet] [--seeds 0 1 2 3 4] [--json [FILE]]

A transformer of two layers of 64 learns to fill in masked words of the transcripts of the train videos. Its vocabulary
is the words of those; its word vectors begin as the first principal components of GloVe's. Then `mdm` learns the score
on the recipe `mosi` (no video is in two parts), with the weights of the epoch that serves the validation videos best:

- text: the transformer alone.
- mag: with the gate and the utterance's audio features, the same ones at each word.
- mag, audio of others: the same with the audio of other utterances of the same part, which tells nothing: what is left
  of a gain is not audio.

The features of video in this set know the labels of the train videos, so they are left out; audio and words do not.
The gate has less dropout and a shorter shift than in the paper (.5 and β = 1), for want of data. In the first fits, of
one or two seeds, MAG was behind text alone with both, and with the latter ahead of the audio of others.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.data.dataset import Dataset
from mmppl.data.recipes.parts.mosi import Utterances, load_mosi
from mmppl.evaluation.metrics.sentiment import two_way_accuracy
from mmppl.evaluation.scores import correlation, mean_absolute_error
from mmppl.evaluation.summary import paired_runs

RESULTS = Path(__file__).parent / "results" / "mag.json"
VALID_VIDEOS = 12
METHODS = ("text", "mag", "mag, audio of others")
LAYERS, WIDTH, HEADS = 2, 64, 4
DROPOUT = 0.1  # of the gate, as elsewhere in the transformer
BETA = 0.2  # how long its shift may be, relative to the vector of a word
PRETRAINING = dict(epochs=20, batch_size=64, lr=2e-3, masked=0.15)
FIT: dict[str, Any] = dict(epochs=8, batch_size=48, lr=1e-3, patience=8, calibrate=False)
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "xlnet": ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "▁"],
}


def vectors(root: Path, words: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """(words, WIDTH), the principal components of GloVe's vectors, with random ones for words that have none."""
    known = {w: i for i, w in enumerate((root / "glove" / "glove100_subset_words.txt").read_text().split("\n"))}
    with np.load(root / "glove" / "glove100_subset.npz") as file:
        glove = next(file[name] for name in file.files if file[name].ndim == 2).astype(np.float64)
    has = np.array([word in known for word in words])
    own = glove[[known[word] for word in words if word in known]]
    own = own - own.mean(0)
    own = own @ np.linalg.svd(own, full_matrices=False)[2][:WIDTH].T
    found = rng.normal(size=(len(words), WIDTH))
    found[has] = own / own.std()
    return 0.05 * found  # not far from what transformers begin with, .02


def pretrained(family: str, folder: Path, spoken: Sequence[Sequence[str]], root: Path, seed: int = 0) -> dict[str, Any]:
    """Make a tiny model in a folder; return how well it fills in masked words of the last part of the rows."""
    import transformers

    began = time.process_time()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    words = sorted({word for row in spoken for word in row})
    if family == "bert":
        (folder / "vocab.txt").write_text("\n".join([*SPECIAL[family], *words]))
        tokenizer: Any = transformers.BertTokenizer(vocab=str(folder / "vocab.txt"))
        config: Any = transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH, max_position_embeddings=64,
        )  # fmt: skip
        model: Any = transformers.BertForMaskedLM(config)
    else:
        pieces = [*SPECIAL[family], *("▁" + word for word in words)]
        tokenizer = transformers.XLNetTokenizer(vocab=[(piece, 0.0) for piece in pieces])
        config = transformers.XLNetConfig(
            vocab_size=len(tokenizer), d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=2 * WIDTH
        )
        model = transformers.XLNetLMHeadModel(config)
    head = model.cls if family == "bert" else model.lm_loss
    tokenizer.save_pretrained(folder)
    made = mmppl.align_words(spoken, tokenizer)
    ids, length = torch.tensor(made["text"][..., 0]), torch.tensor(made["length_text"])
    codes = tokenizer.convert_tokens_to_ids(words if family == "bert" else ["▁" + word for word in words])
    with torch.no_grad():
        model.get_input_embeddings().weight[codes] = torch.tensor(vectors(root, words, rng), dtype=torch.float32)
    exists = torch.arange(ids.shape[1]) < length.unsqueeze(-1)
    ids = torch.where(exists, ids, tokenizer.pad_token_id)
    maskable = exists & torch.isin(ids, torch.tensor(codes))
    epochs, size = int(PRETRAINING["epochs"]), int(PRETRAINING["batch_size"])
    steps = epochs * -(-len(ids) // size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PRETRAINING["lr"], weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, PRETRAINING["lr"], total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        right = total = 0
        for rows in torch.randperm(len(ids)).split(size):
            longest = int(length[rows].max())
            own, here = ids[rows, :longest], exists[rows, :longest]
            hidden = maskable[rows, :longest] & (torch.rand(own.shape) < PRETRAINING["masked"])
            seen = torch.where(hidden, tokenizer.mask_token_id, own)
            states = model.base_model(input_ids=seen, attention_mask=here.long()).last_hidden_state
            logits = head(states[hidden])  # of all places, it would take most of the time
            loss = torch.nn.functional.cross_entropy(logits, own[hidden])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            right, total = right + int((logits.argmax(-1) == own[hidden]).sum()), total + int(hidden.sum())
    model.save_pretrained(folder)
    return dict(family=family, words=len(words), right=right / total, seconds=round(time.process_time() - began, 1))


def rows_of(method: str, found: Utterances, made: Mapping[str, np.ndarray], seed: int) -> Dataset:
    """What a method reads, from the utterances and the pieces of their words."""
    split = found.parts(VALID_VIDEOS, 0)
    arrays: dict[str, Any] = dict(made, split=split, score=found.arrays["score"].astype(np.float64))
    if method != "text":
        audio = found.arrays["audio"].copy()
        if method != "mag":
            rng = np.random.default_rng(seed)
            for part in np.unique(split):
                own = np.flatnonzero(split == part)
                audio[own] = audio[rng.permutation(own)]
        words = 1 + made["text"][..., 1].max(1)
        arrays |= dict(audio=np.repeat(audio[:, None], words.max(), 1), length_audio=words)
    return mmppl.read(arrays, as_=dict(score="laplace:role=label", text="normal:transform=none"))


def scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    measures = dict(mae=mean_absolute_error, corr=correlation, a2=two_way_accuracy)
    return {name: round(float(measure(truth, found)), 4) for name, measure in measures.items()}


def fitted(
    method: str, found: Utterances, made: Mapping[str, np.ndarray], family: str, model: str, seed: int
) -> dict[str, Any]:
    """One fit, and its scores on the validation and test rows."""
    began = time.process_time()
    data, cell = rows_of(method, found, made, seed), dict(family=family, method=method, seed=seed)
    gate = {} if method == "text" else dict(beta=BETA, dropout=DROPOUT)
    run = mmppl.fit("mdm", data, hyper=dict(fusion=f"mag-{family}", model=model) | gate, seed=seed, **FIT)
    for part in ("valid", "test"):
        rows = data.rows(part)
        given = [name for name in ("text", "audio") if name in data.values]
        answer = run.query(data.take(rows), given=given, want=["score"], split="all")["score"]["mean"]
        cell[part] = scores(found.arrays["score"][rows.numpy()], answer.reshape(-1))
    return cell | dict(seconds=round(time.process_time() - began, 1))


def compared(cells: Sequence[Mapping[str, Any]], family: str, method: str, reference: str) -> dict[str, Any]:
    """Means over the seeds, and the differences to another method of the same seed."""
    of = {
        name: {c["seed"]: c["test"] for c in cells if (c["family"], c["method"]) == (family, name)}
        for name in (method, reference)
    }
    seeds = sorted(of[method].keys() & of[reference].keys())
    found: dict[str, Any] = dict(family=family, method=method, against=reference, seeds=len(seeds))
    for score in ("mae", "corr", "a2"):
        own, other = (np.array([of[name][seed][score] for seed in seeds]) for name in (method, reference))
        gain = paired_runs(own, other)
        numbers = dict(mean=own.mean(), sd=own.std(ddof=1), gain=gain["mean"], gain_sd=gain["sd"], p=gain["p"])
        found[score] = {name: round(float(x), 4) for name, x in numbers.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--family", nargs="*", default=["bert"], choices=SPECIAL)
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--json", nargs="?", const=RESULTS, type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    utterances = load_mosi("mosi", asked.root, ("audio",))
    spoken = [text.lower().split() for text in utterances.transcripts]
    known = [row for row, part in zip(spoken, utterances.arrays["split"]) if part == 0]
    cells, lines = [], []
    for family in asked.family:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(pretrained(family, Path(folder), known, asked.root))
            print(json.dumps(lines[-1]), flush=True)
            made = mmppl.align_words(spoken, folder)
            for seed in asked.seeds:
                for method in asked.methods:
                    cells.append(fitted(method, utterances, made, family, folder, seed))
                    print(json.dumps(cells[-1]), flush=True)
        if len(asked.seeds) > 1:
            lines += [compared(cells, family, "mag", other) for other in asked.methods if other != "mag"]
            print("\n".join(json.dumps(line) for line in lines), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(dict(**circumstances(), cells=cells, compared=lines), indent=1) + "\n")


if __name__ == "__main__":
    main()
