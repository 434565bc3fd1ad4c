"""Images with one caption each, at every place of a run."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from vl_core.data import checked_image, fit_image
from vl_core.training import shuffled_index

from vl_vlm.captions.captioned import CaptionedImages
from vl_vlm.models.dual_encoder import DualEncoder
from vl_vlm.models.tokenizers import tokenize
from vl_vlm.training.settings import ContrastiveSettings


class Pair(NamedTuple):
    """An image with one of its captions."""

    image: Tensor
    """``(C, size, size)`` in [0, 1]."""
    input_ids: Tensor
    """``(L,)`` padded to the context."""
    attention_mask: Tensor
    """``(L,)``."""
    image_ids: Tensor
    """``(K,)``: ids of all captions of the image, filled up with -1."""
    text_id: Tensor
    """Id of this caption."""


def caption_id(caption: str) -> int:
    """An id that equal captions share, whatever their case and spaces: 63 bits of a hash."""
    words = " ".join(caption.casefold().split())
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") >> 1


class CaptionPairs(Dataset[Pair]):
    """A cropped image and one of its captions for each place of a run, as `vl_core.training.fit` takes them.

    Every epoch sees every image once, with a caption chosen at random; choices and crops depend on the seed and the
    place alone.

    Args:
        dataset: Images with captions.
        model: Says how images and texts are prepared.
        settings: Seed, crops and flips.

    Raises:
        ValueError: If there are fewer than two images.
    """

    def __init__(self, dataset: CaptionedImages, model: DualEncoder, settings: ContrastiveSettings):
        if len(dataset) < 2:
            raise ValueError(
                f"dataset must hold at least two images, got {len(dataset)}; one has nothing to differ from"
            )
        self._dataset, self._settings = dataset, settings
        self._size, self._channels = model.image_size, model.channels
        self._tokenizer, self._length = model.tokenizer, model.context_length
        self._most = max(map(len, dataset.captions))

    def __getitem__(self, place: int) -> Pair:
        index = shuffled_index(place, len(self._dataset), self._settings.seed)
        image, captions, name = self._dataset[index]
        generator = torch.Generator().manual_seed((self._settings.seed * 1_000_003 + place) % 2**63)
        chosen = int(torch.randint(len(captions), (), generator=generator))
        tokens = tokenize(self._tokenizer, [captions[chosen]], self._length, padded=True)
        ids = [caption_id(caption) for caption in captions]
        try:
            pixels = self._cropped(checked_image(image, index), generator)
        except ValueError as error:
            raise ValueError(f"{self._dataset.name}, image {name!r}: {error}") from error
        return Pair(
            pixels,
            tokens["input_ids"][0],
            tokens["attention_mask"][0],
            torch.tensor(ids + [-1] * (self._most - len(ids))),
            torch.tensor(ids[chosen]),
        )

    def _cropped(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """A random crop at the model's size; a crop of everything is the image as it is evaluated."""
        low, high = self._settings.crop_scale
        share, ratio, down, across, side = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
        if low < 1:
            _, height, width = image.shape
            square = min(height, width)
            area = (low + (high - low) * share) * square**2
            aspect = math.exp((2 * ratio - 1) * math.log(4 / 3))
            h, w = (min(square, max(1, round(math.sqrt(area * factor)))) for factor in (aspect, 1 / aspect))
            top, left = int(down * (height - h + 1)), int(across * (width - w + 1))
            image, target = image[:, top : top + h, left : left + w], (self._size, self._size)
            image = F.interpolate(image[None], target, mode="bicubic", antialias=True, align_corners=False)[0]
        image = fit_image(image.clamp(0, 1), self._size, self._channels)
        return image.flip(-1) if self._settings.flip and side < 0.5 else image


def known_positives(image_ids: Tensor, text_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids as the losses take them, without captions that no text of the batch has.

    Args:
        image_ids: ``(B, K)`` filled up with -1.
        text_ids: ``(M,)``.

    Returns:
        Ids of the images ``(B, k)`` with ``k`` at most ``K``, and of the texts.
    """
    known = image_ids.masked_fill(~torch.isin(image_ids, text_ids), -1).sort(dim=1, descending=True).values
    kept = max(1, int((known >= 0).sum(dim=1).max()))
    return known[:, :kept].contiguous(), text_ids


def trimmed(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens without the padding that all texts of the batch have."""
    used = attention_mask.any(dim=0).nonzero().flatten()
    kept = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
    return input_ids[:, kept], attention_mask[:, kept]


def captions_digest(dataset: CaptionedImages) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over names and captions, by which a run knows its data again."""
    total = hashlib.sha256()
    for fact in zip(dataset.names, dataset.captions, strict=True):
        total.update(repr(fact).encode())
    return total.hexdigest()[:16]


def weights_layout(model: DualEncoder) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over names and shapes of weights: the architecture of a run."""
    shapes = sorted((name, tuple(value.shape)) for name, value in model.state_dict().items())
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]
