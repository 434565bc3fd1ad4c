"""Tiny real diffusers models, built from their configurations without a network, each from one seed.

They have the parts and the folder layout of the published checkpoints and some twenty thousand random weights, which
already react to the class or the prompt; they are for testing loading, pairing and bookkeeping, never accuracy. Sizes
are those of diffusers' own fast tests; the tokenizer, which those tests download, is made here from a dictionary.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

CLASSES = ("airplane", "bird", "cat", "deer", "dog", "frog", "horse", "mountain", "ship", "truck")
START, END = "<|startoftext|>", "<|endoftext|>"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise from ``seed`` and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with 190 entries: 94 printable characters, each also ending a word, and two specials."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation]
    pieces = [*characters, *(f"{character}</w>" for character in characters), START, END]
    return CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def text_encoder(vocabulary: CLIPTokenizer) -> CLIPTextModel:
    """Two layers of width 32 over ``vocabulary``."""
    config = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=32,
        vocab_size=len(vocabulary),
        bos_token_id=vocabulary.bos_token_id,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def autoencoder() -> AutoencoderKL:
    """Pictures ``(B, 3, 32, 32)`` to latents ``(B, 4, 16, 16)``."""
    return AutoencoderKL(
        sample_size=32,
        latent_channels=4,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
    ).eval()


def stable_diffusion(*, prediction_type: str = "epsilon", seed: int = 0) -> StableDiffusionPipeline:
    """Stable Diffusion, with the heads and projections of version 2 where it predicts ``"v_prediction"``."""
    second = prediction_type == "v_prediction"
    with seeded(seed):
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(4, 8),
            layers_per_block=1,
            norm_num_groups=2,
            cross_attention_dim=32,
            attention_head_dim=(2, 4) if second else 8,
            use_linear_projection=second,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()
        vocabulary = tokenizer()
        return StableDiffusionPipeline(
            vae=autoencoder(),
            text_encoder=text_encoder(vocabulary),
            tokenizer=vocabulary,
            unet=unet,
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction_type,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def dit_pipeline(*, classes: int = 10, seed: int = 0) -> DiTPipeline:
    """DiT over the latents of `autoencoder`; like the published one it returns eight channels, noise and variance."""
    with seeded(seed):
        transformer = DiTTransformer2DModel(
            sample_size=16,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            patch_size=4,
            attention_head_dim=8,
            num_attention_heads=2,
            num_embeds_ada_norm=classes,
            activation_fn="gelu-approximate",
            norm_type="ada_norm_zero",
            norm_elementwise_affine=False,
        ).eval()
        return DiTPipeline(transformer=transformer, vae=autoencoder(), scheduler=DDIMScheduler(clip_sample=False))


def pixel_dit(*, classes: int = 10, channels: int = 1, seed: int = 0) -> DiTTransformer2DModel:
    """DiT on pixels ``(B, channels, 28, 28)``; index ``classes`` is the one for no class."""
    with seeded(seed):
        return DiTTransformer2DModel(
            sample_size=28,
            in_channels=channels,
            out_channels=channels,
            num_layers=2,
            patch_size=4,
            attention_head_dim=8,
            num_attention_heads=2,
            num_embeds_ada_norm=classes,
            activation_fn="gelu-approximate",
            norm_type="ada_norm_zero",
            norm_elementwise_affine=False,
        ).eval()


def pixel_unet(*, classes: int | None = 10, channels: int = 1, seed: int = 0) -> UNet2DModel:
    """U-Net on pixels ``(B, channels, 28, 28)``; ``classes=None`` makes one that takes no class."""
    with seeded(seed):
        return UNet2DModel(
            sample_size=28,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=8,
            num_class_embeds=classes,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval()


def save_pixel_model(model: DiTTransformer2DModel | UNet2DModel, folder: Path, classes: Sequence[str]) -> Path:
    """Save as our own model ships: weights, ``scheduler_config.json`` and ``classes.json`` side by side."""
    model.save_pretrained(folder)
    DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder)
    (folder / "classes.json").write_text(json.dumps(list(classes)) + "\n", encoding="utf-8")
    return folder


def save_dit_pipeline(pipeline: DiTPipeline, folder: Path, classes: Sequence[str]) -> Path:
    """Save with ``id2label`` in ``model_index.json``, as the published checkpoints have it; diffusers drops it."""
    pipeline.save_pretrained(folder)
    index = folder / "model_index.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    content["id2label"] = {str(number): name for number, name in enumerate(classes)}
    index.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return folder
