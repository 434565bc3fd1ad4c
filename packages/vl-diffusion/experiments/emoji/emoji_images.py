"""Emoji data for both text-image models: images, captions, augmentation, candidate names.

Two styles are for training; the third is held out. Of its images, those of the `val` concepts are for choosing settings
and all others for testing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import T5Config, T5EncoderModel, T5Tokenizer
from vl_core.data import open_dataset

TRAINING_STYLES = ("noto", "twemoji")
HELD_OUT_STYLE = "fluent"
PROMPT_LENGTH = 16
# A mirrored letter, arrow or flag has another meaning; a mirrored animal has not.
_FIXED_GROUPS = ("symbols", "flags")
_FIXED_WORDS = {"left", "right", "clockwise", "counterclockwise"}


@dataclass(frozen=True)
class Emoji:
    """Images of one or more styles, concatenated, with their metadata."""

    images: Tensor
    """uint8 ``(N, 3, 32, 32)``, on white."""
    labels: list[str]
    """Name of the concept in the Unicode charts."""
    tags: list[tuple[str, ...]]
    splits: list[str]
    """Split of each image's concept: ``train``, ``val`` or ``test``."""
    mirrors: Tensor
    """bool ``(N,)``, true for images that may be mirrored."""
    twin: Tensor
    """int64 ``(N,)``, index of the same concept in another style, or of the image itself where there is none."""


def open_style(*styles: str) -> Emoji:
    """Open the built-in images of these styles."""
    sets = [open_dataset(f"emoji:{style}") for style in styles]
    about = [entry for emoji in sets for entry in emoji.metadata or ()]
    pixels = np.stack([np.asarray(emoji[place][0]) for emoji in sets for place in range(len(emoji))])
    mirrors = [entry["group"] not in _FIXED_GROUPS and not _FIXED_WORDS & set(words(entry["label"])) for entry in about]
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(about):
        places.setdefault(entry["hexcode"], []).append(place)
    twin = [next((p for p in places[entry["hexcode"]] if p != place), place) for place, entry in enumerate(about)]
    return Emoji(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        labels=[entry["label"] for entry in about],
        tags=[entry["tags"] for entry in about],
        splits=[entry["split"] for entry in about],
        mirrors=torch.tensor(mirrors),
        twin=torch.tensor(twin),
    )


def words(text: str) -> list[str]:
    """Split a name into lower-case words without punctuation."""
    return re.findall(r"\w+", text.lower())


def build_tokenizer(emoji: Emoji) -> T5Tokenizer:
    """Build a tokenizer of whole words of the names and frequent tags, with single characters as fallback.

    Prompts must be in lower case, as diffusers' PixArt pipelines make them.
    """
    pieces: dict[str, float] = {}
    counts: dict[str, int] = {}
    for label, tags in sorted(set(zip(emoji.labels, emoji.tags, strict=True))):
        for word in words(" ".join(tags)):
            counts[word] = counts.get(word, 0) + 1
        # A word inside quotation marks or after a hyphen begins no token of the text.
        for part in label.lower().split():
            for place, word in enumerate(words(part)):
                pieces["▁" + word if place == 0 and part.startswith(word) else word] = -5.0
    pieces |= {f"▁{word}": -5.0 for word, count in sorted(counts.items()) if count >= 3}
    text = "".join(emoji.labels).lower() + "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()&*#+-/"
    pieces = {**pieces, **dict.fromkeys(sorted(set(text) - {" "}), -12.0)}
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -12.0)]
    return T5Tokenizer(vocab=[*special, *pieces.items()], extra_ids=0, model_max_length=PROMPT_LENGTH)


def build_text_encoder(vocabulary: int, width: int = 128) -> T5EncoderModel:
    """Build a T5 encoder of two blocks with four heads, without dropout."""
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=width // 4,
        num_heads=4,
        d_ff=2 * width,
        num_layers=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        use_cache=False,
    )
    return T5EncoderModel(config)


def tokenize(tokenizer: T5Tokenizer, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Return token ids and mask ``(B, L)`` of lower-cased prompts, padded to the longest."""
    tokens = tokenizer(
        [prompt.lower().strip() for prompt in prompts], padding="longest", truncation=True, return_tensors="pt"
    )
    return tokens.input_ids, tokens.attention_mask


def caption(emoji: Emoji, place: int, tag_share: float, generator: np.random.Generator) -> str:
    """Draw a caption: the name, or with probability ``tag_share`` the name and a tag, or two tags."""
    label, tags = emoji.labels[place], emoji.tags[place]
    if not tags or generator.random() >= tag_share:
        return label
    first, second = generator.choice(len(tags), 2)
    return f"{label}, {tags[first]}" if generator.random() < 0.5 else f"{tags[first]} {tags[second]}"


def augment(emoji: Emoji, index: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Return augmented images ``(B, 3, 32, 32)`` in -1..1, changed a little in the ways that styles differ.

    Only the ink, the difference from white, is changed, so that the background stays white: it is mixed with the other
    style's image, mirrored, rotated, stretched, shifted, changed in hue, saturation and strength, blurred.

    Args:
        emoji: The images.
        index: Indices of the images, ``(B,)``.
        generator: Source of all randomness.
        strength: 0 leaves the images unchanged.
    """
    batch = len(index)
    ink = 1 - emoji.images[index].float() / 255
    if strength == 0:
        return 1 - 2 * ink

    def uniform(spread: float) -> Tensor:
        return (2 * torch.rand(batch, generator=generator) - 1) * spread * strength

    def chosen(share: float) -> Tensor:
        return torch.rand(batch, generator=generator) < share * strength

    share = (torch.rand(batch, generator=generator) * chosen(0.2)).view(-1, 1, 1, 1)
    ink = ink.lerp(1 - emoji.images[emoji.twin[index]].float() / 255, share)

    angle, zoom, stretch = uniform(math.radians(12)), uniform(0.14).exp(), uniform(0.07).exp()
    mirror = 1 - 2 * (emoji.mirrors[index] & chosen(0.3)).float()
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [cos * stretch * mirror, -sin * stretch, uniform(0.13), sin * mirror, cos / stretch, uniform(0.13)]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(ink.shape), align_corners=False)
    ink = F.grid_sample(ink, grid, align_corners=False)

    # Colors as gray and what differs from it: the first is scaled, the second scaled and turned about the gray axis.
    gray = ink.mean(1, keepdim=True)
    color = ink - gray
    hue, saturation = uniform(math.radians(15)).view(-1, 1, 1, 1), uniform(0.35).exp().view(-1, 1, 1, 1)
    across = (color.roll(1, 1) - color.roll(-1, 1)) / math.sqrt(3)
    color = (color * hue.cos() + across * hue.sin()) * saturation
    ink = (gray + color) * uniform(0.25).exp().view(-1, 1, 1, 1)
    blurred = F.avg_pool2d(ink, 3, 1, 1, count_include_pad=False)
    ink = ink.lerp(blurred, (torch.rand(batch, generator=generator) * chosen(0.3)).view(-1, 1, 1, 1))
    return 1 - 2 * ink.clamp(0, 1)


def held_out(settings: bool) -> tuple[Tensor, list[str]]:
    """Return images ``(N, 3, 32, 32)`` in -1..1 of the held-out style and their names.

    Args:
        settings: True for the 153 images of the `val` concepts, for choosing settings; False for the 1,441
            others, for testing.
    """
    emoji = open_style(HELD_OUT_STYLE)
    keep = [place for place, split in enumerate(emoji.splits) if (split == "val") == settings]
    return emoji.images[keep].float() / 127.5 - 1, [emoji.labels[place] for place in keep]


def candidates(labels: list[str], pool: list[str], count: int, seed: int) -> list[list[str]]:
    """Draw for each name ``count`` different names of the pool, itself included at a random position."""
    generator = np.random.default_rng(seed)
    pool = sorted(set(pool))
    sets = []
    for label in labels:
        others = [pool[place] for place in generator.permutation(len(pool))[:count]]
        names = [label, *(name for name in others if name != label)][:count]
        sets.append([names[place] for place in generator.permutation(count)])
    return sets
