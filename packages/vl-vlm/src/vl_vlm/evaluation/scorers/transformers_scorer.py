"""CLIP and SigLIP models of transformers as scorers, with texts padded the way each was trained."""

from __future__ import annotations

from typing import Any

from vl_vlm.evaluation.scorers.dual_encoder import DualEncoderScorer, evaluating, from_dual_encoder, rgb_pixels
from vl_vlm.models.tokenizers import text_length, tokenize


def from_transformers(model: Any, processor: Any, *, cached_texts: int = 100_000) -> DualEncoderScorer:
    """Make a scorer of a dual encoder from transformers, such as ``CLIPModel`` or ``SiglipModel``.

    Texts are cut to the positions of the text tower. SigLIP models were trained on texts padded to that length and
    without a mask (Zhai et al., 2023), and are given exactly this; others get the padding that a batch needs, masked.
    The model keeps its device, precision and training mode.

    Args:
        model: Has ``get_image_features``, ``get_text_features`` and ``config.text_config.max_position_embeddings``.
        processor: Has ``image_processor`` and ``tokenizer``, as ``CLIPProcessor`` and ``SiglipProcessor`` do.
        cached_texts: Text features to keep, as in `from_dual_encoder`.

    Returns:
        A scorer by cosine, of images in every form that `vl_core.data.image_to_tensor` takes.

    Raises:
        TypeError: If the model or the processor lacks what is named above.
        ValueError: If the tokenizer's context is longer than the text tower.

    Example:
        ``scorer = from_transformers(SiglipModel.from_pretrained(folder), SiglipProcessor.from_pretrained(folder))``
    """
    for name in ("get_image_features", "get_text_features"):
        if not callable(getattr(model, name, None)):
            raise TypeError(f"model must have {name}, got {type(model).__name__}; use from_dual_encoder for others")
    for name in ("image_processor", "tokenizer"):
        if getattr(processor, name, None) is None:
            raise TypeError(
                f"processor must have {name}, got {type(processor).__name__}; give the model's own processor"
            )
    positions = getattr(getattr(model.config, "text_config", None), "max_position_embeddings", None)
    if not isinstance(positions, int):
        raise TypeError(
            f"model must have config.text_config.max_position_embeddings, which {type(model).__name__} lacks; "
            "use from_dual_encoder with a function that tokenizes"
        )
    tokenizer = processor.tokenizer
    fixed = str(getattr(model.config, "model_type", "")).startswith("siglip")
    length = text_length(tokenizer, positions, fixed=fixed)

    def encode_image(images: list[Any]) -> Any:
        batch = processor.image_processor(images=[rgb_pixels(image) for image in images], return_tensors="pt")
        return _run(model, "get_image_features", dict(batch))

    def encode_text(texts: list[str]) -> Any:
        return _run(model, "get_text_features", tokenize(tokenizer, texts, length, padded=fixed, masked=not fixed))

    return from_dual_encoder(encode_image, encode_text, cached_texts=cached_texts)


def _run(model: Any, method: str, inputs: dict[str, Any]) -> Any:
    """Features of one batch in evaluation mode; the mode is put back."""
    weight = next(model.parameters())
    moved = {
        name: value.to(weight.device, weight.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    with evaluating(model):
        found = getattr(model, method)(**moved)
    # Since transformers 5 the features come inside an output.
    return found if hasattr(found, "detach") else found.pooler_output
