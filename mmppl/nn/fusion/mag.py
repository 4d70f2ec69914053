"""MAG: a pretrained transformer over the words, with a gate that shifts every word's vector by what is heard and seen.

    w_m = ReLU(W_hm [x_m; e] + b),   H = Σ_m w_m ∘ (W_m x_m + b_m),   m over audio, video, ...
    α = min(1, β ‖e‖ / ‖H‖),   ē = Dropout(LayerNorm(e + α H))

Source: Rahman et al. 2020, "Integrating Multimodal Information in Large Pretrained Transformers", arXiv:1908.05787 (Eq.
1–5), and its code: 1e-6 is added to ‖H‖, which counts as 1 where it is 0. Differs: any number of modalities beside
text (with none, the transformer alone remains); a row without text reads one [MASK] for each step of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError, UsageError
from ..mlp import Dropout, Linear
from .network import FusionNetwork
from .pretrained import load_encoder
from .time_steps import groups_of_length

PIECES = 2  # numbers of a word piece: its code and its word
Beside = Mapping[str, Tensor]
_BESIDE: ContextVar[Beside | None] = ContextVar("what is heard and seen at each word piece", default=None)


class Gate(nn.Module):
    """The multimodal adaptation gate.

    Args:
        d: the width of the words' vectors.
        sizes: features of the other modalities, by name; at least one.
        beta: how long the shift may be, relative to the word's vector.
        dropout: rate of the dropout on the result.

    Example:
        >>> gate = Gate(4, {"audio": 3})
        >>> gate(torch.randn(2, 7, 4), {"audio": torch.randn(2, 7, 3)}).shape
        torch.Size([2, 7, 4])
    """

    def __init__(self, d: int, sizes: Mapping[str, int], *, beta: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        self.beta = beta
        self.weights = nn.ModuleDict({name: Linear(size + d, d) for name, size in sizes.items()})
        self.shifts = nn.ModuleDict({name: Linear(size, d) for name, size in sizes.items()})
        self.norm = nn.LayerNorm(d)
        self.dropout = Dropout(dropout)

    def forward(self, e: Tensor, beside: Beside) -> Tensor:
        """Shift the words' vectors e, (..., d), by the features (..., F) of the other modalities at the same places."""
        return self.dropout(self.norm(e + self.shift(e, beside)))

    def shift(self, e: Tensor, beside: Beside) -> Tensor:
        """α H, (..., d)."""
        shift = torch.zeros_like(e)
        for name, weigh in self.weights.items():
            x = beside[name]
            shift = shift + torch.relu(weigh(torch.cat([x, e], -1))) * self.shifts[name](x)
        length, own = (torch.linalg.vector_norm(v, dim=-1, keepdim=True) for v in (shift, e))
        length = torch.where(length == 0, 1.0, length)
        return (self.beta * own / (length + 1e-6)).clamp(max=1) * shift


class MAG(FusionNetwork):
    """What MAG-BERT and MAG-XLNet have in common.

    The modality of text holds word pieces as `align_words` makes them: (B, L, 2) floats, the code of a piece and the
    place of its word, −1 for special ones. The steps of the others are words: step k belongs to word k, and all pieces
    of a word get its features. Special pieces, words beyond their steps and modalities that a row lacks get zeros.

    Args:
        sizes: see `FusionNetwork`; that of text is 2.
        text: see `FusionNetwork`.
        family: "bert" or "xlnet".
        model: a folder, or the name of a model in the cache of the Hugging Face hub.
        pretrained: whether the weights are loaded; if not, the folder needs its configuration and vocabulary only.
        beta: see `Gate`.
        dropout: see `Gate`.

    Raises:
        UsageError: transformers or the model is absent, or the model or the size of text is of another kind.
        DataError: the model's files are incomplete.
    """

    reads_pieces = True
    encoder: Any  # of transformers, whose classes are not typed here

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None,
        family: str,
        model: str,
        pretrained: bool,
        beta: float,
        dropout: float,
    ) -> None:
        name = text if text is not None else next(iter(sizes), "")
        if sizes.get(name, PIECES) != PIECES:
            raise UsageError(
                f"{type(self).__name__} reads {name} as word pieces, 2 numbers each, not {sizes[name]} features; "
                "make them with mmppl.align_words."
            )
        encoder, special = load_encoder(model, family, pretrained=pretrained)
        super().__init__(sizes, d=encoder.config.hidden_size, text=text)
        self.encoder, self.special = encoder, special
        others = {name: size for name, size in sizes.items() if name != self.text}
        self.gate = Gate(self.d, others, beta=beta, dropout=dropout) if others else None

    def _fuse(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> Tensor:
        ids, words, exists = self._pieces(features, steps)
        order = torch.argsort((~exists).to(torch.uint8), dim=1, stable=True)  # gaps and padding move to the end
        ids, words = ids.gather(1, order), words.gather(1, order)
        beside = {name: _at(features[name], words) for name in self.sizes if name != self.text}
        lengths = [int(n) for n in exists.sum(1).cpu()]
        parts, rows = [], []
        for group in groups_of_length(lengths):
            own, longest = torch.tensor(group, device=ids.device), lengths[group[0]]
            mask = torch.arange(longest, device=ids.device) < exists.sum(1)[own].unsqueeze(-1)
            with self._beside({name: x[own, :longest] for name, x in beside.items()}):
                parts.append(self._encode(torch.where(mask, ids[own, :longest], self.special.pad), mask))
            rows += group
        if not parts:
            return next(iter(features.values())).new_zeros(0, self.d)
        return torch.cat(parts)[torch.argsort(torch.tensor(rows, device=ids.device))]

    def _encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from the codes of word pieces, (B, L), and a mask (B, L) that is True first, then False."""
        raise NotImplementedError(f"{type(self).__name__} has to define `_encode`.")

    def _pieces(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Code, word and existence of every word piece, (B, L) each, with stand-ins in rows without text."""
        exists = steps[self.text]
        codes, words = features[self.text].unbind(-1)
        most = self.encoder.config.vocab_size
        if bool(((codes != codes.floor()) | (codes < 0) | (codes >= most) | (words != words.floor())).any()):
            raise DataError(
                f"{self.text}: word pieces have to be whole numbers from 0 to {most - 1}; make them with "
                "mmppl.align_words and the vocabulary of this model, and do not scale them."
            )
        if exists.shape[1] < 2:
            raise ValueError(f"{self.text} has {exists.shape[1]} word pieces; it needs room for two special ones.")
        stand_in = self._stand_in(exists.shape, {n: s for n, s in steps.items() if n != self.text}, exists.device)
        lacks = ~exists.any(1, keepdim=True)
        found = (codes.long(), torch.where(exists, words.long(), -1), exists)
        ids, words, exists = (torch.where(lacks, new, old) for new, old in zip(stand_in, found))
        return ids, words, exists

    def _stand_in(
        self, shape: torch.Size, steps: Mapping[str, Tensor], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The special pieces and a [MASK] for each word until the last step of another modality, as far as there is
        room."""
        B, L = shape
        n = torch.zeros(B, 1, dtype=torch.long, device=device)
        for present in steps.values():
            until = torch.arange(1, present.shape[1] + 1, device=device) * present
            n = torch.maximum(n, until.max(1, keepdim=True).values) if until.numel() else n
        n = n.clamp(max=L - 2)
        place = torch.arange(L, device=device)
        word = place - self.special.before
        masked = (word >= 0) & (word < n)
        ids = torch.where(masked, self.special.mask, self.special.sep)
        # [CLS] is the first piece for BERT, and the last one for XLNet
        ids = torch.where(place == (0 if self.special.before else n + 1), self.special.cls, ids)
        return ids, torch.where(masked, word, -1), place < n + 2

    def _gated(self, e: Tensor, *, time_first: bool = False) -> Tensor:
        """The gate in its place inside the encoder, which a hook calls with the words' vectors there."""
        beside = _BESIDE.get()
        if beside is None or self.gate is None:
            return e
        return self.gate(e, {name: x.transpose(0, 1) for name, x in beside.items()} if time_first else beside)

    @contextmanager
    def _beside(self, beside: Beside) -> Iterator[None]:
        """Hand to the hook what is heard and seen; each thread has its own."""
        token = _BESIDE.set(beside)
        try:
            yield
        finally:
            _BESIDE.reset(token)


def _at(x: Tensor, words: Tensor) -> Tensor:
    """The features (B, W, F) of the words whose places are given, (B, L): (B, L, F), and 0 where there is no such."""
    W = x.shape[1]
    if not W:
        return x.new_zeros(*words.shape, x.shape[2])
    known = ((words >= 0) & (words < W)).unsqueeze(-1)
    found = x.gather(1, words.clamp(0, W - 1).unsqueeze(-1).expand(-1, -1, x.shape[2]))
    return torch.where(known, found, 0.0)
