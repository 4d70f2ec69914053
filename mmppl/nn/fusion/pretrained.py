"""Pretrained transformers from a local folder or the hub's cache. Nothing is downloaded; no code of a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ...errors import DataError, UsageError

FAMILIES = {"bert": "Bert", "xlnet": "XLNet"}  # as config.json and as classes of transformers have them
FRESH = ("pooler.",)  # may be absent: a model that was trained to fill in words has none, and it is learned anew


@dataclass(frozen=True)
class SpecialPieces:
    """Codes of the pieces that are no words, and how many of them stand before the words (BERT 1, XLNet 0)."""

    pad: int
    cls: int
    sep: int
    mask: int
    before: int


def load_tokenizer(model: str) -> Any:
    """Load the tokeniser of a model.

    Args:
        model: a folder, or a name in the cache of the Hugging Face hub.

    Returns:
        A tokeniser of transformers.

    Raises:
        UsageError: transformers or the model is absent, or the model is neither BERT nor XLNet.
        DataError: there is no vocabulary.
    """
    transformers = _transformers()
    kind = getattr(transformers, FAMILIES[_family(transformers, model)] + "Tokenizer")
    try:
        tokenizer = kind.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{model}: no vocabulary that can be read; add tokenizer.json or vocab.txt.") from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers makes up where there is no file
        raise DataError(f"{model}: its vocabulary has no words; add tokenizer.json or vocab.txt.")
    return tokenizer


def load_encoder(model: str, family: str, *, pretrained: bool = True) -> tuple[Any, SpecialPieces]:
    """Load a transformer and its special pieces.

    Args:
        model: a folder, or a name in the cache of the Hugging Face hub.
        family: "bert" or "xlnet".
        pretrained: whether the weights are loaded; if not, they are drawn.

    Returns:
        The model without a head, in the default dtype, and its special pieces.

    Raises:
        UsageError: transformers or the model is absent, or the model is of another family.
        DataError: the vocabulary or the weights are absent or incomplete.
    """
    transformers = _transformers()
    if (found := _family(transformers, model)) != family:
        raise UsageError(f"{model} is a model of the kind {found!r}; this network needs {family!r}.")
    tokenizer = load_tokenizer(model)
    config_kind, kind = (getattr(transformers, FAMILIES[family] + part) for part in ("Config", "Model"))
    config = config_kind.from_pretrained(model, local_files_only=True)
    if len(tokenizer) > config.vocab_size:
        raise DataError(f"{model}: {len(tokenizer)} words in the vocabulary, {config.vocab_size} in config.json; take "
                        "both from one model.")  # fmt: skip
    with _quiet(transformers):
        # a program is built without memory, on the device "meta", where its weights are about to come from a run
        loaded = pretrained and torch.get_default_device().type != "meta"
        encoder = _with_weights(kind, model) if loaded else kind(config)
    special = SpecialPieces(
        tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id,
        before=int(family == "bert"),
    )  # fmt: skip
    return encoder.to(torch.get_default_dtype()), special


def _with_weights(kind: Any, model: str) -> Any:
    try:
        encoder, report = kind.from_pretrained(model, local_files_only=True, output_loading_info=True)
    except OSError as error:
        raise DataError(f"{model} has no weights; add model.safetensors, or set pretrained=false.") from error
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{model}: its weights do not fit config.json, or are damaged; take both anew.") from error
    absent = sorted(name for name in report["missing_keys"] if not name.startswith(FRESH))
    if absent:
        raise DataError(
            f"{model}: its weights lack {len(absent)} of the tensors that config.json asks for, such as {absent[0]}; "
            "take both from one model."
        )
    return encoder


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError("pretrained transformers need a further package: pip install mmppl[text].") from error
    return transformers


def _family(transformers: Any, model: str) -> str:
    """The kind of a model, as its config.json has it."""
    try:
        found = transformers.PreTrainedConfig.get_config_dict(model, local_files_only=True)[0]
    except (OSError, ValueError) as error:
        if not Path(model).is_dir():
            raise UsageError(
                f"{model} is neither a folder nor in the cache of the Hugging Face hub; `hf download {model}` puts it "
                "there, or give a local folder: model=FOLDER."
            ) from error
        found = {}
    if "model_type" not in found:
        raise DataError(f"{model}: no config.json that names a model_type; name a folder that has one.")
    if found["model_type"] not in FAMILIES:
        raise UsageError(f"{model} is a model of the kind {found['model_type']!r}; known are {', '.join(FAMILIES)}.")
    return found["model_type"]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and reports: what matters in them is an error here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
