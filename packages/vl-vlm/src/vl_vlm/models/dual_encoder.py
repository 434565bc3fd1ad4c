"""`DualEncoder`, images and texts in one space."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vl_core.data import Normalization, checked_image, fit_image, is_single_image

from vl_vlm.models.sub_batches import check_batch_statistics, encode_in_parts
from vl_vlm.models.tokenizers import text_length, tokenize
from vl_vlm.models.towers import JointModel, Towers

ContrastiveLoss = Literal["info_nce", "sigmoid"]
"""Loss that a model is trained with: InfoNCE has a scale, the sigmoid loss a scale and a bias."""
START: dict[ContrastiveLoss, tuple[float, float | None]] = {"info_nce": (1 / 0.07, None), "sigmoid": (10.0, -10.0)}
"""Initial scale and bias of a loss (Radford et al., 2021, section 2.3; Zhai et al., 2023, section 3.2)."""


class Features(NamedTuple):
    """Features of unit length."""

    images: Tensor
    """``(B, dim)``."""
    texts: Tensor
    """``(M, dim)``."""


class DualEncoder(nn.Module):
    """Images and texts in one space, where the cosine says how well they fit.

    Radford et al. (2021) with ``loss="info_nce"``, Zhai et al. (2023) with ``loss="sigmoid"``. Images enter in [0, 1]
    and are normalized inside.

    Args:
        towers: Networks of images and texts, see `Towers`; or `JointModel`, one model that has both.
        tokenizer: Tokenizer of transformers; see `train_tokenizer` for one's own.
        loss: ``"info_nce"`` or ``"sigmoid"``: says which scale and bias the model begins with, and what
            `train_dual_encoder` minimizes. A joint model keeps its own scale and bias; default: its own loss, which is
            the sigmoid one if it has a bias, and ``"info_nce"`` for others.
        image_size: Height and width of images; default: what the vision network states.
        normalization: Mean and standard deviation of images; default: the vision network's own.
        context_length: Tokens of a text at most; default: what tokenizer and text network state.

    Raises:
        TypeError: If the towers are of another kind.
        ValueError: If the loss is unknown, nothing states the size of images, the network takes images that are not
            square, or the tokenizer's context does not fit the text network.

    Example:
        >>> captions = ["a red circle", "a blue square"]
        >>> model = small_dual_encoder(captions, image_size=32)
        >>> model.similarity([np.zeros((32, 32, 3), np.uint8)], captions).shape
        torch.Size([1, 2])
    """

    logit_bias: Tensor | None

    def __init__(
        self,
        towers: Towers | JointModel,
        tokenizer: Any,
        *,
        loss: ContrastiveLoss | None = None,
        image_size: int | None = None,
        normalization: Normalization | None = None,
        context_length: int | None = None,
    ):
        super().__init__()
        if not isinstance(towers, Towers | JointModel):
            raise TypeError(f"towers must be Towers or a JointModel, got {type(towers).__name__}")
        own = towers.model if isinstance(towers, JointModel) else None
        network = towers.model if isinstance(towers, JointModel) else towers.vision.network
        if loss is None:
            loss = "info_nce" if getattr(own, "logit_bias", None) is None else "sigmoid"
        if loss not in get_args(ContrastiveLoss):
            raise ValueError(f"loss must be 'info_nce' or 'sigmoid', got {loss!r}")
        self.towers, self.tokenizer, self.loss = towers, tokenizer, loss
        self.image_size = _image_size(network) if image_size is None else image_size
        self.normalization = Normalization.of(network) if normalization is None else normalization
        self.context_length = text_length(tokenizer, towers.positions, context_length, fixed=towers.fixed_length)
        scale, bias = START[loss]
        self.logit_scale = _own(own, "logit_scale", math.log(scale))
        self.logit_bias = None if bias is None else _own(own, "logit_bias", bias)
        self.image_locked = False
        if isinstance(towers, Towers):
            zeros = torch.zeros(1, self.channels, self.image_size, self.image_size)
            towers.make_projections(zeros, self.tokenize(["a"]))

    @property
    def channels(self) -> int:
        """Channels of images: 1 or 3."""
        return len(self.normalization.mean)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.logit_scale.device

    # ---- Tensors to features, with gradients ----

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``(B, dim)`` of unit length, of images ``(B, C, image_size, image_size)`` in [0, 1]."""
        # In the type of the weights, which may be half precision.
        weight = next((p for p in self.towers.parameters() if p.is_floating_point()), images)
        return F.normalize(self.towers.encode_image(self.normalization(images).to(weight.dtype)).float(), dim=-1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Features ``(M, dim)`` of unit length, of what `tokenize` gives."""
        return F.normalize(self.towers.encode_text(input_ids, attention_mask).float(), dim=-1)

    def forward(
        self, images: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None, *, sub_batch: int = 0
    ) -> Features:
        """Features of images and texts.

        Args:
            images: ``(B, C, image_size, image_size)`` in [0, 1].
            input_ids: ``(M, L)``.
            attention_mask: ``(M, L)``.
            sub_batch: Images and texts whose activations are in memory at a time; see `encode_in_parts`.

        Raises:
            ValueError: If sub-batches are asked for and a module computes statistics of its batch.
        """
        if sub_batch and self.training:
            check_batch_statistics(self)
        return Features(
            encode_in_parts(self.encode_image, (images,), sub_batch),
            encode_in_parts(self.encode_text, (input_ids, attention_mask), sub_batch),
        )

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Tokens of texts as the text network takes them: ``input_ids``, and a mask where it takes one."""
        fixed = self.towers.fixed_length
        return tokenize(self.tokenizer, texts, self.context_length, padded=fixed, masked=not fixed)

    def lock_image(self) -> None:
        """Freeze the network of images for good, and keep it in evaluation mode (LiT, Zhai et al., 2022)."""
        self.towers.lock_image()
        self.image_locked = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules, except a locked network of images."""
        super().train(mode)
        if self.image_locked:
            for module in self.towers.modules():
                own = list(module.parameters())
                if own and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self

    # ---- Folders ----

    def save_pretrained(self, folder: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> None:
        """Write the model: ``vision/`` and ``text/`` by timm and transformers, and what joins them.

        Args:
            folder: Created if it is missing.
            dtype: Floating-point type of the weights in the files; default: the model's own. Loading gives float32.

        Raises:
            ValueError: If a network belongs to neither library.
        """
        from vl_vlm.models.saved import save_dual_encoder

        save_dual_encoder(self, folder, dtype)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> DualEncoder:
        """Load a model that `save_pretrained` wrote, in float32 and evaluation mode; nothing is unpickled.

        Args:
            source: A built-in name, a folder, or ``owner/name`` on the Hugging Face hub.

        Raises:
            FileNotFoundError: If there is no such model.
            ValueError: If the folder holds another kind of model, or its files do not fit together.
        """
        from vl_vlm.models.saved import load_dual_encoder

        return load_dual_encoder(source)

    # ---- open_clip ----

    @classmethod
    def from_open_clip(cls, model: nn.Module, tokenizer: Any) -> DualEncoder:
        """Make a dual encoder of a model from open_clip, with its weights: training changes that very model.

        Args:
            model: ``CLIP`` or ``CustomTextCLIP``, such as ``open_clip.create_model`` returns; SigLIP among them.
            tokenizer: That of ``open_clip.get_tokenizer`` for this model.

        Raises:
            TypeError: If it is no such model or tokenizer.
            ValueError: If the tokenizer's context is longer than the text tower.
        """
        from vl_vlm.models.open_clip import open_clip_parts

        return cls(**open_clip_parts(model, tokenizer))

    def to_open_clip(self) -> nn.Module:
        """The model of open_clip inside, with its present weights.

        Raises:
            ValueError: If it is made of other networks.
        """
        if not isinstance(self.towers, JointModel) or not hasattr(self.towers.model, "visual"):
            raise ValueError("only a model that from_open_clip made can become one again; this one has other networks")
        network: nn.Module = self.towers.model
        return network

    # ---- Images and texts of any form, without gradients ----

    def encode_images(self, images: Sequence[Any], *, batch_size: int = 64) -> Tensor:
        """Features ``(N, dim)`` of unit length on the CPU, in evaluation mode; the mode is put back.

        Args:
            images: Each as `vl_core.data.image_to_tensor` takes it, of any size: resized by the shorter side and
                cropped to the center.
            batch_size: Images at a time.

        Raises:
            TypeError: If it is one image rather than a sequence.
            ValueError: If an image is none, or ``batch_size`` is below 1.
        """
        if is_single_image(images):
            raise TypeError(f"images must be a sequence of images, got one {type(images).__name__}; put it in a list")
        return self._encoded(self._encode_images, images, batch_size)

    def encode_texts(self, texts: Sequence[str], *, batch_size: int = 256) -> Tensor:
        """Features ``(M, dim)`` of unit length on the CPU, in evaluation mode; the mode is put back.

        Raises:
            TypeError: If it is one text rather than a sequence, or one is no text.
            ValueError: If ``batch_size`` is below 1.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts must be a sequence of texts, got the text {texts[:40]!r}; put it in a list")
        return self._encoded(self._encode_texts, texts, batch_size)

    def similarity(self, images: Sequence[Any], texts: Sequence[str]) -> Tensor:
        """Cosines ``(N, M)`` of images and texts."""
        return self.encode_images(images) @ self.encode_texts(texts).T

    def probabilities(self, images: Sequence[Any], texts: Sequence[str]) -> Tensor:
        """Probabilities ``(N, M)``: of each text among all of them with InfoNCE, of each pair with the sigmoid loss."""
        logits = self.similarity(images, texts) * self.logit_scale.detach().exp().cpu()
        if self.logit_bias is None:
            return logits.softmax(dim=1)
        return (logits + self.logit_bias.detach().cpu()).sigmoid()

    def prepare_image(self, image: Any, index: int = 0) -> Tensor:
        """One image, of any form and size, as `encode_image` takes it: ``(C, image_size, image_size)`` in [0, 1].

        Errors name it by its ``index``.
        """
        return fit_image(checked_image(image, index), self.image_size, self.channels)

    def _encode_images(self, images: Sequence[Any]) -> Tensor:
        pixels = [self.prepare_image(image, index) for index, image in enumerate(images)]
        return self.encode_image(torch.stack(pixels).to(self.device))

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        return self.encode_text(**{name: values.to(self.device) for name, values in self.tokenize(texts).items()})

    @torch.inference_mode()
    def _encoded(self, encode: Callable[[Any], Tensor], values: Sequence[Any], batch_size: int) -> Tensor:
        if not len(values):
            raise ValueError("images and texts must hold at least one, got none")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        training = self.training
        self.eval()
        try:
            parts = [
                encode([values[i] for i in range(start, min(start + batch_size, len(values)))]).cpu()
                for start in range(0, len(values), batch_size)
            ]
        finally:
            self.train(training)
        return torch.cat(parts)


def _own(model: Any, name: str, value: float) -> nn.Parameter:
    """The parameter of a joint model, which it then shares, or a new one."""
    found = getattr(model, name, None)
    return found if isinstance(found, nn.Parameter) else nn.Parameter(torch.tensor(value))


def _image_size(network: Any) -> int:
    """Height and width that a network states."""
    config = getattr(network, "config", None)
    places = (
        getattr(getattr(network, "patch_embed", None), "img_size", None),
        getattr(getattr(network, "visual", None), "image_size", None),
        getattr(getattr(config, "vision_config", config), "image_size", None),
        tuple((getattr(network, "pretrained_cfg", None) or {}).get("input_size") or ())[1:] or None,
    )
    found = next((place for place in places if place is not None), None)
    if found is None:
        raise ValueError(
            f"image_size must be given, since {type(network).__name__} does not state it; pass the height of its images"
        )
    sides = (found, found) if isinstance(found, int) else tuple(cast(Sequence[int], found))
    if sides[0] != sides[1]:
        raise ValueError(f"towers must take square images, got a network for {sides[0]} x {sides[1]} pixels")
    return int(sides[0])
