"""Models and tokenizers of open_clip, as parts of a dual encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from vl_core.data import Normalization

from vl_vlm.models.towers import JointModel


class OpenClipTokenizer:
    """A tokenizer of open_clip that is called like those of transformers; it always pads to the length.

    Args:
        tokenizer: Has ``context_length`` and takes texts.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.model_max_length = int(tokenizer.context_length)

    def __call__(self, texts: Sequence[str], *, max_length: int, **_: Any) -> dict[str, Tensor]:
        """Token ids ``(N, max_length)``, and a mask of those that are not zero."""
        ids: Tensor = self.tokenizer(list(texts), context_length=max_length)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def open_clip_parts(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Arguments of `DualEncoder` for a model of open_clip.

    Raises:
        TypeError: If it is no such model or tokenizer.
        ValueError: If the tokenizer's context is longer than the text tower.
    """
    for name in ("visual", "encode_image", "encode_text", "logit_scale"):
        if getattr(model, name, None) is None:
            raise TypeError(f"model must have {name}, got {type(model).__name__}; create it with open_clip")
    if not callable(tokenizer) or not isinstance(getattr(tokenizer, "context_length", None), int):
        raise TypeError(
            f"tokenizer must have context_length and take texts, got {type(tokenizer).__name__}; give that of "
            "open_clip.get_tokenizer"
        )
    visual: Any = model.visual
    size = visual.image_size
    return {
        "towers": JointModel(_checked(model)),
        "tokenizer": OpenClipTokenizer(tokenizer),
        "image_size": size if isinstance(size, int) else _square(tuple(size)),
        "normalization": _normalization(visual),
    }


def _normalization(visual: Any) -> Normalization:
    """That of a published model, or open_clip's default for networks of one's own."""
    stated = getattr(visual, "preprocess_cfg", None) or {}
    if stated.get("mean"):
        return Normalization(stated["mean"], stated["std"])
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    return Normalization(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)


def _checked(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module, got {type(model).__name__}")
    return model


def _square(size: tuple[int, ...]) -> int:
    if len(set(size)) > 1:
        raise ValueError(f"model must take square images, got one for {size[0]} x {size[1]} pixels")
    return size[0]
