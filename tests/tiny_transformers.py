"""Tiny random BERTs and XLNets in a folder, with a vocabulary of a few words: nothing is downloaded."""

from pathlib import Path

import torch

WORDS = ["good", "bad", "movie", "un", "##believ", "##able"]
SENTENCE = ["unbelievable", "good", "movie"]  # the first is three pieces


def bert(folder: Path) -> str:
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(7)
    BertModel(config).save_pretrained(folder)
    return str(folder)


def xlnet(folder: Path) -> str:
    from transformers import XLNetConfig, XLNetModel, XLNetTokenizer

    pieces = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "▁", "▁good", "▁bad", "▁movie", "▁un"]
    pieces += ["believ", "able"]
    XLNetTokenizer(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)]).save_pretrained(folder)
    config = XLNetConfig(vocab_size=len(pieces) + 2, d_model=8, n_layer=3, n_head=2, d_inner=12, initializer_range=0.5)
    torch.manual_seed(7)
    XLNetModel(config).save_pretrained(folder)
    return str(folder)
