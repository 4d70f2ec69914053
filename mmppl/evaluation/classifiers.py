"""Classifiers of generated values: one small network per modality, trained on its original training rows and kept.

A classifier knows neither run nor program. It is kept in the folder `classifiers` of the cache ($MMPPL_CACHE) under a
hash of everything that it depends on: schema, values, classes and the settings below. A classifier of other data is
therefore never used.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.files import pack, unpack
from ..base.turns import give_way, others_turn, own_settings, turn
from ..data.dataset import Dataset
from ..errors import DataError
from ..kernels.codegen.cache import keep, kept, place
from ..modalities.images import image_layout, is_image
from ..modalities.modality import Modality
from ..nn.mlp import mlp
from ..nn.sequence.conv1d import Conv1dEncoder
from ..nn.strided import Moved, Rows

VERSION = 1  # of network and training; also the seed of both
STEPS, BATCH, RATE = 1500, 128, 3e-3  # at most; a cosine to 0
HELD_OUT, CHECK, ENOUGH = 2000, 150, 0.999  # at most so many rows, checked every so many steps, until such an accuracy
WIDTHS = (16, 32, 64, 64)  # of convolutions, each followed by pooling
LETTERS = 64


def classifier_of(
    m: Modality,
    label: Modality,
    train: Dataset,
    *,
    fresh: bool = True,
    log: Callable[[str], None] | None = None,
) -> nn.Module | None:
    """Load or train the classifier of `label` from `m` alone.

    Args:
        m: the modality that it sees.
        label: the class label that it predicts.
        train: the training rows, in model units; it learns from those that have both.
        fresh: whether to train one if none is kept.
        log: receives one line when training begins, and one when it ends.

    Returns:
        A network from `m.as_input` to logits, in evaluation mode. None if there are no rows of two classes to learn
        from, or if none is kept and `fresh` is False.
    """
    rows = (train.observed[m.name] & train.observed[label.name]).nonzero().squeeze(-1)
    classes = train.values[label.name][rows]
    if len(classes.unique()) < 2:
        return None
    values = train.values[m.name] if len(rows) == len(train) else train.values[m.name][rows]
    present = train.present[m.name][rows] if m.name in train.present else None
    name = f"classifiers/{_key(m, label, values, classes, present)}.safetensors"
    with own_settings(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(VERSION)
        network = classifier_network(m, label.n_classes)
        if (data := kept(name)) is not None:
            with suppress(DataError, RuntimeError):  # of another kind of network: replaced
                network.load_state_dict(unpack(data, place(name)))
                return network.eval()
        if not fresh:
            return None
        log = log or (lambda line: None)
        with others_turn():
            log(f"a classifier of {label.name} from {m.name} is trained on {len(rows):,} rows, and kept")
        began = time.monotonic()
        right = _train(network, m, values, classes, present)
    log(f"the classifier of {m.name}: {right:.2%} of held-out rows right, {time.monotonic() - began:.0f} s")
    keep(name, pack(dict(network.state_dict())))
    return network.eval()


@torch.no_grad()
def predict(classifier: nn.Module, inputs: Tensor) -> np.ndarray:
    """Predict classes.

    Args:
        classifier: a network from `classifier_of`.
        inputs: (n, input_size), as from `m.as_input`.

    Returns:
        (n,) class codes.
    """
    with turn():
        return torch.cat([classifier(part).argmax(-1) for part in inputs.split(1000)]).numpy()


def classifier_network(m: Modality, classes: int) -> nn.Module:
    """Build an untrained classifier: convolutions over an image or along a sequence of classes, else (and where
    cells are missing) two hidden layers.

    Args:
        m: the modality that it sees.
        classes: the number of classes.

    Returns:
        A network (n, input_size) → (n, classes) logits.
    """
    if m.gaps:  # the mask stands behind the values
        return mlp(m.input_size, 256, classes, layers=2, norm=True)
    if m.classes is not None and m.shape and not m.sequence:
        return Rows(
            nn.Unflatten(1, (m.size, m.n_classes)), Moved(-1, 1),
            nn.Conv1d(m.n_classes, LETTERS, 1), nn.ReLU(), nn.Conv1d(LETTERS, LETTERS, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(LETTERS * m.size, classes),
        )  # fmt: skip
    if m.sequence:
        return Conv1dEncoder(m, classes, channels=LETTERS)
    if not is_image(m):
        return mlp(m.input_size, 256, classes, layers=2, norm=True)
    channels, height, width, last = image_layout(m.shape)
    layers: list[nn.Module] = [nn.Unflatten(1, (height, width, channels) if last else (channels, height, width))]
    layers += [Moved(-1, 1)] if last else []
    for wide in WIDTHS:
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        channels, height, width = wide, math.ceil(height / 2), math.ceil(width / 2)
        if max(height, width) <= 4:
            break
    return Rows(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))


def _train(network: nn.Module, m: Modality, values: Tensor, classes: Tensor, present: Tensor | None) -> float:
    """Train on all but a tenth of the rows, and return the accuracy on that tenth."""

    def inputs(rows: Tensor) -> Tensor:
        return m.as_input(values[rows], None if present is None else present[rows])

    draw = torch.Generator().manual_seed(VERSION)
    order = torch.randperm(len(classes), generator=draw)
    held, train_rows = order.split([min(HELD_OUT, len(order) // 10), len(order) - min(HELD_OUT, len(order) // 10)])
    truth, shown = classes[held].numpy(), inputs(held)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    cooling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    batches: list[Tensor] = []
    right = float("nan")
    for step in range(1, STEPS + 1):
        if not batches:
            batches = list(train_rows[torch.randperm(len(train_rows), generator=draw)].split(BATCH))
        rows = batches.pop()
        loss = F.cross_entropy(network(inputs(rows)), classes[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cooling.step()
        give_way()
        if len(held) and (step % CHECK == 0 or step == STEPS):
            right = float((predict(network, shown) == truth).mean())
            if right >= ENOUGH:
                break
    return right


def _key(m: Modality, label: Modality, values: Tensor, classes: Tensor, present: Tensor | None) -> str:
    recipe = [VERSION, STEPS, BATCH, RATE, HELD_OUT, CHECK, ENOUGH, WIDTHS, LETTERS, torch.__version__]
    digest = hashlib.sha256(json.dumps([recipe, m.to_json(), label.to_json()], sort_keys=True).encode())
    for tensor in (values, classes, *([] if present is None else [present])):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:32]
