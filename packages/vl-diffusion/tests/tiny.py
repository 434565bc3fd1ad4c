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
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CLASSES = ("airplane", "bird", "cat", "deer", "dog", "frog", "horse", "mountain", "ship", "truck")
START, END = "<|startoftext|>", "<|endoftext|>"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialize from ``seed`` and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with 190 entries: 94 printable characters, each also ending a word, and two specials."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation]
    pieces = [*characters, *(f"{character}</w>" for character in characters), START, END]
    return CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def text_encoder(
    vocabulary: CLIPTokenizer, kind: type = CLIPTextModel, width: int = 32
) -> CLIPTextModel | CLIPTextModelWithProjection:
    """Two layers over ``vocabulary``."""
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=32,
        vocab_size=len(vocabulary),
        bos_token_id=vocabulary.bos_token_id,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    return kind(config).eval()


def t5_tokenizer() -> T5Tokenizer:
    """T5's tokenizer with 70 entries: small letters, digits and a few marks, alone and at the start of a word."""
    pieces = [*string.ascii_lowercase, *".,!"]
    entries = ["<pad>", "</s>", "<unk>", "▁", *pieces, *(f"▁{piece}" for piece in pieces)]
    return T5Tokenizer(vocab=[(piece, -float(index)) for index, piece in enumerate(entries)], extra_ids=0)


def t5_encoder(vocabulary: T5Tokenizer, width: int = 32) -> T5EncoderModel:
    """Two layers over ``vocabulary``."""
    config = T5Config(vocab_size=len(vocabulary), d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return T5EncoderModel(config).eval()


def autoencoder(channels: int = 4, **settings: Any) -> AutoencoderKL:
    """Images ``(B, 3, 32, 32)`` to latents ``(B, channels, 16, 16)``."""
    return AutoencoderKL(
        sample_size=32,
        latent_channels=channels,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        **settings,
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


def stable_diffusion_xl(*, second: int = 32, seed: int = 0) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL: two text encoders side by side, one of width ``second``, the image's size as a condition."""
    with seeded(seed):
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(2, 4),
            layers_per_block=1,
            norm_num_groups=1,
            cross_attention_dim=32 + second,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()
        vocabulary = tokenizer()
        return StableDiffusionXLPipeline(
            vae=autoencoder(force_upcast=True),
            text_encoder=text_encoder(vocabulary),
            tokenizer=vocabulary,
            text_encoder_2=text_encoder(vocabulary, CLIPTextModelWithProjection, second),
            tokenizer_2=vocabulary,
            unet=unet,
            # Its add_noise adds without scaling the image, and must not be used.
            scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
            add_watermarker=False,
        )


def stable_diffusion_3(*, t5: bool = False, second: int = 32, seed: int = 0) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3, without T5 unless asked for, its other text encoder of width ``second``."""
    with seeded(seed):
        transformer = SD3Transformer2DModel(
            sample_size=16,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=max(64, 32 + second),
            pooled_projection_dim=64,
        ).eval()
        vocabulary, pieces = tokenizer(), t5_tokenizer()
        return StableDiffusion3Pipeline(
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=autoencoder(
                shift_factor=0.0609, scaling_factor=1.5035, use_quant_conv=False, use_post_quant_conv=False
            ),
            text_encoder=text_encoder(vocabulary, CLIPTextModelWithProjection),
            tokenizer=vocabulary,
            text_encoder_2=text_encoder(vocabulary, CLIPTextModelWithProjection, second),
            tokenizer_2=vocabulary,
            text_encoder_3=t5_encoder(pieces, max(64, 32 + second)) if t5 else None,
            tokenizer_3=pieces if t5 else None,
        )


def flux(*, guidance: bool = True, heads: int = 2, head: int = 16, seed: int = 0) -> FluxPipeline:
    """Flux, guidance-distilled as Flux.1 dev unless told otherwise, with attention heads of width ``head``."""
    with seeded(seed):
        transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=8,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=head,
            num_attention_heads=heads,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(head // 4, head // 4, head // 2),
            guidance_embeds=guidance,
        ).eval()
        vocabulary, pieces = tokenizer(), t5_tokenizer()
        return FluxPipeline(
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=autoencoder(
                2, shift_factor=0.1159, scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False
            ),
            text_encoder=text_encoder(vocabulary),
            tokenizer=vocabulary,
            text_encoder_2=t5_encoder(pieces),
            tokenizer_2=pieces,
        )


def pixart(*, pixels: bool = False, conditions: bool = False, seed: int = 0) -> PixArtAlphaPipeline:
    """PixArt, with a learned variance in a latent space, or without on ``(B, 3, 16, 16)`` pixels."""
    with seeded(seed):
        channels = 3 if pixels else 4
        transformer = PixArtTransformer2DModel(
            sample_size=16,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=32,
            in_channels=channels,
            out_channels=channels if pixels else 2 * channels,
            cross_attention_dim=24,
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            use_additional_conditions=conditions,
        ).eval()
        pieces = t5_tokenizer()
        return PixArtAlphaPipeline(
            tokenizer=pieces,
            text_encoder=t5_encoder(pieces),
            vae=None if pixels else autoencoder(),
            transformer=transformer,
            scheduler=DDIMScheduler(beta_schedule="squaredcos_cap_v2" if pixels else "linear", clip_sample=False),
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
