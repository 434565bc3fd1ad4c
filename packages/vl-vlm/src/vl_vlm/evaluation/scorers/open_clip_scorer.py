"""Models of open_clip as scorers: CLIP, SigLIP, CoCa's two encoders, and text towers of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vl_vlm.evaluation.scorers.dual_encoder import DualEncoderScorer, evaluating, from_dual_encoder, rgb_pixels


def from_open_clip(
    model: Any, preprocess: Callable[[Any], Any], tokenizer: Any, *, cached_texts: int = 100_000
) -> DualEncoderScorer:
    """Make a scorer of a model from open_clip, such as ``CLIP``, ``CustomTextCLIP`` (SigLIP among them) or ``CoCa``.

    Texts are padded or cut to the positions of the text tower, so that a SigLIP model gets the length that it was
    trained on; a text tower of transformers gets the tokenizer's length. Of CoCa the two encoders are used, not the
    decoder. The model keeps its device, precision and training mode.

    Args:
        model: Has ``visual``, ``encode_image`` and ``encode_text``.
        preprocess: From a PIL image to ``(3, H, W)``; the one for evaluation, third of
            ``open_clip.create_model_and_transforms`` and second of ``open_clip.create_model_from_pretrained``.
        tokenizer: That of ``open_clip.get_tokenizer`` for this model.
        cached_texts: Text features to keep, as in `from_dual_encoder`.

    Returns:
        A scorer by cosine, of images in every form that `vl_core.data.image_to_tensor` takes.

    Raises:
        TypeError: If an argument lacks what is named above.
        ValueError: If the tokenizer's context is longer than the text tower, its tokens are none of the model's, or
            ``preprocess`` draws at random.

    Example:
        ``scorer = from_open_clip(*open_clip.create_model_from_pretrained(name), open_clip.get_tokenizer(name))``
    """
    for name in ("visual", "encode_image", "encode_text"):
        if getattr(model, name, None) is None:
            raise TypeError(f"model must have {name}, got {type(model).__name__}; use from_dual_encoder for others")
    if not callable(preprocess):
        raise TypeError(f"preprocess must take a PIL image, got {type(preprocess).__name__}; give open_clip's own")
    steps = [type(step).__name__ for step in getattr(preprocess, "transforms", [])]
    if drawn := [step for step in steps if step.startswith("Random")]:
        raise ValueError(f"preprocess must be that for evaluation, got one with {drawn[0]}; give open_clip's third one")
    context = getattr(tokenizer, "context_length", None)
    if not callable(tokenizer) or not isinstance(context, int):
        raise TypeError(
            f"tokenizer must have context_length and take texts, got {type(tokenizer).__name__}; "
            "give that of open_clip.get_tokenizer"
        )
    positions, fixed = _positions(model)
    if positions and context > positions:
        raise ValueError(
            f"tokenizer must have a context that fits the text tower: the tokenizer's is {context} tokens, the tower "
            f"has {positions} positions; take the tokenizer of this model from open_clip.get_tokenizer"
        )
    length = positions if fixed else context
    known = _vocabulary(model)

    def encode_image(images: list[Any]) -> Any:
        import torch
        from PIL import Image

        pixels = torch.stack([preprocess(Image.fromarray(rgb_pixels(image))) for image in images])
        with evaluating(model):
            return model.encode_image(_placed(model, pixels))

    def encode_text(texts: list[str]) -> Any:
        tokens = tokenizer(texts, context_length=length)
        if known and int(tokens.max()) >= known:
            raise ValueError(
                f"tokenizer must have the tokens of the model, whose vocabulary is {known}, got token "
                f"{int(tokens.max())}; take the tokenizer of this model from open_clip.get_tokenizer"
            )
        with evaluating(model):
            return model.encode_text(tokens.to(next(model.parameters()).device))

    return from_dual_encoder(encode_image, encode_text, cached_texts=cached_texts)


def _positions(model: Any) -> tuple[int, bool]:
    """Number of tokens that the text tower takes, 0 for any, and True if texts are to be padded to it."""
    tower = getattr(model, "text", model)
    table = getattr(tower, "positional_embedding", None)
    if table is not None:
        # A tower may append a class token of its own.
        return len(table) - (getattr(tower, "cls_emb", None) is not None), True
    return int(getattr(tower, "context_length", 0) or 0), False


def _vocabulary(model: Any) -> int:
    """Number of tokens that the text tower knows; 0 if it does not say."""
    return int(getattr(getattr(model, "text", model), "vocab_size", 0) or 0)


def _placed(model: Any, pixels: Any) -> Any:
    """Pixels on the model's device, in the type of its first layer; other weights may have a wider one."""
    weights = list(model.visual.parameters())
    first = next((weight for weight in weights if weight.ndim == 4), weights[0])
    return pixels.to(first.device, first.dtype)
