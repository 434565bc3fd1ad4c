"""Tokenizers of captions: trained on one's own, held to what a text tower takes, and applied as it was trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

NO_LIMIT = 10**9
"""A tokenizer without a limit of its own reports an astronomical one."""
_PAD, _UNKNOWN, _FIRST, _LAST = "<pad>", "<unk>", "<bos>", "<eos>"


def train_tokenizer(
    captions: Iterable[str], *, vocabulary_size: int = 8192, context_length: int = 64
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on captions: byte-level BPE of lower-case text, so that no text is out of its vocabulary.

    Args:
        captions: Texts to learn from.
        vocabulary_size: Largest number of tokens, the 256 bytes and four special tokens included.
        context_length: Tokens of a text at most, the first and last included; longer texts are cut.

    Returns:
        A tokenizer of transformers, which has ``save_pretrained`` and can be loaded by ``AutoTokenizer``.

    Raises:
        ValueError: If there is no caption, the vocabulary has no room for the bytes, or the context is below 3.

    Example:
        >>> tokenizer = train_tokenizer(["a red circle", "a blue circle"], context_length=16)
        >>> tokenizer.decode(tokenizer("A blue circle")["input_ids"], skip_special_tokens=True)
        'a blue circle'
    """
    special = [_PAD, _UNKNOWN, _FIRST, _LAST]
    if vocabulary_size < 256 + len(special):
        raise ValueError(f"vocabulary_size must be at least 260 for all bytes, got {vocabulary_size}")
    if context_length < 3:
        raise ValueError(f"context_length must be at least 3, a first, a last and another token, got {context_length}")
    texts = [captions] if isinstance(captions, str) else list(captions)
    if not texts:
        raise ValueError("captions must hold at least one text, got none")
    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in (_FIRST, _LAST)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{_FIRST} $A {_LAST}", special_tokens=ends)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=context_length,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        bos_token=_FIRST,
        eos_token=_LAST,
        clean_up_tokenization_spaces=True,
    )


def text_length(
    tokenizer: Any, positions: int | None, context_length: int | None = None, *, fixed: bool = False
) -> int:
    """Number of tokens to which texts are cut: that which was asked for, else what tokenizer and tower have.

    Args:
        tokenizer: Has ``model_max_length``.
        positions: Positions of the text tower; None if it states none.
        context_length: Tokens asked for.
        fixed: True for a tower that always reads all of its positions.

    Raises:
        ValueError: If the tokenizer or ``context_length`` has more tokens than the tower has positions, or nothing says
            how many there are.
    """
    own = getattr(tokenizer, "model_max_length", None)
    own = own if isinstance(own, int) and own < NO_LIMIT else None
    if context_length is not None:
        if context_length < 1:
            raise ValueError(f"context_length must be at least 1, got {context_length}")
        if positions is not None and context_length > positions:
            raise ValueError(
                f"context_length must be at most {positions}, the positions of the text tower, got {context_length}"
            )
        return context_length
    if positions is None and own is None:
        raise ValueError("context_length must be given, since neither tokenizer nor text tower states it")
    if positions is not None and own is not None and own > positions:
        raise ValueError(
            f"tokenizer must have a context that fits the text tower: the tokenizer's is {own} tokens, the tower has "
            f"{positions} positions; load the tokenizer that belongs to this model, or pass context_length={positions}"
        )
    if fixed and positions is not None:
        return positions
    return min(length for length in (own, positions) if length is not None)


def tokenize(
    tokenizer: Any, texts: Sequence[str], length: int, *, padded: bool = False, masked: bool = True
) -> dict[str, Tensor]:
    """Token ids ``input_ids`` ``(N, L)`` int64, and their ``attention_mask``.

    Args:
        tokenizer: Of transformers.
        texts: At least one.
        length: Tokens at most; longer texts are cut.
        padded: Pad to this length instead of to the longest text.
        masked: False leaves out the mask, as SigLIP models were trained (Zhai et al., 2023).

    Raises:
        TypeError: If one is no text.
    """
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts must be texts, got {type(text).__name__} at place {place}; write it as text")
    padding: Any = "max_length" if padded else True
    found = tokenizer(
        list(texts),
        padding=padding,
        padding_side="right",  # positions of the words then do not depend on the other texts of a batch
        truncation=True,
        max_length=length,
        return_attention_mask=True,
        return_tensors="pt",
    )
    names = ("input_ids", "attention_mask") if masked else ("input_ids",)
    return {name: torch.as_tensor(found[name]) for name in names}
