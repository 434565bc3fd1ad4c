"""A small dual encoder of one's own, from nothing but captions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import timm
from transformers import CLIPTextConfig, CLIPTextModel
from vl_core.data import Normalization

from vl_vlm.models.dual_encoder import ContrastiveLoss, DualEncoder
from vl_vlm.models.tokenizers import train_tokenizer
from vl_vlm.models.towers import Towers


def small_dual_encoder(
    captions: Iterable[str],
    *,
    image_size: int = 32,
    patch_size: int | None = None,
    width: int = 128,
    depth: int = 4,
    text_depth: int = 2,
    dim: int = 128,
    context_length: int = 32,
    vocabulary_size: int = 2048,
    loss: ContrastiveLoss = "info_nce",
) -> DualEncoder:
    """Make an untrained ViT and text transformer of a common width, with a tokenizer trained on captions.

    Args:
        captions: Texts that the tokenizer is trained on.
        image_size: Height and width of images, a multiple of ``patch_size``.
        patch_size: Height and width of a patch; default: an eighth of the image.
        width: Width of both transformers, a multiple of 32.
        depth: Blocks of the ViT.
        text_depth: Blocks of the text transformer.
        dim: Size of the common space.
        context_length: Tokens of a text at most.
        vocabulary_size: Largest number of tokens.
        loss: See `DualEncoder`.

    Returns:
        A `DualEncoder` with random weights, drawn from PyTorch's generator.

    Raises:
        ValueError: If the width is no multiple of 32, or the image none of the patch.

    Example:
        >>> small_dual_encoder(["a red circle"], image_size=16, width=32, depth=1).image_size
        16
    """
    if width < 32 or width % 32:
        raise ValueError(f"width must be a multiple of 32, got {width}")
    patch_size = max(1, image_size // 8) if patch_size is None else patch_size
    if image_size < 1 or patch_size < 1 or image_size % patch_size:
        raise ValueError(f"image_size must be a multiple of patch_size, got {image_size} and {patch_size}")
    tokenizer = train_tokenizer(captions, vocabulary_size=vocabulary_size, context_length=context_length)
    vision = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=width // 32,
        num_classes=0,
        global_pool="avg",
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=text_depth,
            num_attention_heads=width // 32,
            max_position_embeddings=context_length,
            hidden_act="gelu",
            **_special_tokens(tokenizer),
        )
    )
    towers = Towers(vision, text, dim=dim)
    return DualEncoder(towers, tokenizer, loss=loss, normalization=Normalization((0.5,) * 3, (0.5,) * 3))


def _special_tokens(tokenizer: Any) -> dict[str, Any]:
    # With 2 for the last token transformers pools the largest id instead, as CLIP's first release did.
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
