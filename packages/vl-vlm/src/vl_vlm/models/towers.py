"""Towers of a dual encoder: images to features and tokens to features, of timm, transformers, or one's own."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class VisionTower(nn.Module):
    """Normalized images to one feature vector each, whatever the library of the network.

    timm networks give their features before the classifier; those of transformers their pooled output, or the mean of
    their tokens if they have none; any other module what it returns.

    Args:
        network: From images ``(B, C, H, W)``.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(B, width)``."""
        network: Any = self.network
        if _is_of_transformers(network):
            return _pooled(network(pixel_values=images), None)
        if hasattr(network, "forward_head"):
            return cast(Tensor, network.forward_head(network.forward_features(images), pre_logits=True))
        return cast(Tensor, network(images))


class TextTower(nn.Module):
    """Tokens to one feature vector a text.

    Args:
        network: A text model of transformers; or a module from token ids and mask, ``(B, L)`` each, to ``(B, width)``.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    @property
    def positions(self) -> int | None:
        """Longest text in tokens; None if the network states none."""
        config = getattr(self.network, "config", None)
        found = getattr(config, "max_position_embeddings", None)
        if not isinstance(found, int):
            return None
        # RoBERTa and its kin count positions from behind that of the padding.
        behind = str(getattr(config, "model_type", "")).removeprefix("xlm-") in ("roberta", "camembert", "mpnet")
        return found - (int(getattr(config, "pad_token_id", 0) or 0) + 1 if behind else 0)

    @property
    def fixed_length(self) -> bool:
        """True for texts that are always padded to the whole length, without a mask."""
        return str(getattr(getattr(self.network, "config", None), "model_type", "")).startswith("siglip")

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Features ``(B, width)``."""
        if _is_of_transformers(self.network):
            return _pooled(self.network(input_ids=input_ids, attention_mask=attention_mask), attention_mask)
        return cast(Tensor, self.network(input_ids, attention_mask))


class Towers(nn.Module):
    """A vision tower and a text tower, each with a linear map into one space.

    Args:
        vision: Network of images: of timm, of transformers, or any module from ``(B, C, H, W)`` to ``(B, width)``.
        text: Network of texts: of transformers, or any module from token ids and mask to ``(B, width)``.
        dim: Size of the common space; None leaves out the maps for towers that end in one already.

    Raises:
        TypeError: If a tower is no module.
        ValueError: If ``dim`` is below 1.
    """

    def __init__(self, vision: nn.Module, text: nn.Module, *, dim: int | None = 512):
        super().__init__()
        for name, tower in (("vision", vision), ("text", text)):
            if not isinstance(tower, nn.Module):
                raise TypeError(f"{name} must be a module, got {type(tower).__name__}; load or create it first")
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be at least 1, or None for no projections, got {dim}")
        self.vision, self.text, self.dim = VisionTower(vision), TextTower(text), dim
        self.image_projection: nn.Module = nn.Identity()
        self.text_projection: nn.Module = nn.Identity()

    @torch.no_grad()
    def make_projections(self, images: Tensor, tokens: dict[str, Tensor]) -> None:
        """Make the maps into the common space, of the widths that one pass in evaluation mode shows.

        Raises:
            ValueError: If a network gives no vector for each input, or without maps two of different size.
        """
        modes = {module: module.training for module in self.modules()}
        self.eval()
        widths = []
        for name, found in (("vision", self.vision(images)), ("text", self.text(**tokens))):
            if found.ndim != 2:
                raise ValueError(f"{name} must give features (B, width), got {tuple(found.shape)}; pool them first")
            widths.append(found.shape[1])
        for module, mode in modes.items():
            module.training = mode
        if self.dim is not None:
            self.image_projection, self.text_projection = (nn.Linear(width, self.dim, bias=False) for width in widths)
        elif widths[0] != widths[1]:
            raise ValueError(
                f"dim must be given for networks of different width, {widths[0]} and {widths[1]}; got None"
            )

    @property
    def positions(self) -> int | None:
        """Longest text in tokens; None if the network states none."""
        return self.text.positions

    @property
    def fixed_length(self) -> bool:
        """True for texts that are always padded to the whole length, without a mask."""
        return self.text.fixed_length

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``(B, dim)`` of normalized images."""
        return cast(Tensor, self.image_projection(self.vision(images)))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Features ``(B, dim)``."""
        return cast(Tensor, self.text_projection(self.text(input_ids, attention_mask)))

    def lock_image(self) -> None:
        """Freeze the network of images, but not its projection (LiT, Zhai et al., 2022)."""
        self.vision.requires_grad_(False)


class JointModel(nn.Module):
    """Both towers of one model that ends in a common space already: open_clip's, or CLIP and SigLIP of transformers.

    Args:
        model: Has ``encode_image`` and ``encode_text``, or ``get_image_features`` and ``get_text_features``.

    Raises:
        TypeError: If it has neither.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model
        self._transformers = hasattr(model, "get_image_features")
        if not self._transformers and not (hasattr(model, "encode_image") and hasattr(model, "encode_text")):
            raise TypeError(
                f"model must have encode_image and encode_text, or get_image_features and get_text_features, got "
                f"{type(model).__name__}; put two networks into Towers"
            )

    @property
    def positions(self) -> int | None:
        """Longest text in tokens; None if the model states none."""
        if self._transformers:
            return getattr(getattr(self.model.config, "text_config", None), "max_position_embeddings", None)
        text = getattr(self.model, "text", self.model)  # open_clip's second class has its text tower apart
        return getattr(text, "context_length", None)

    @property
    def fixed_length(self) -> bool:
        """True for texts that are always padded to the whole length, without a mask."""
        kind = str(getattr(getattr(self.model, "config", None), "model_type", ""))
        return not self._transformers or kind.startswith("siglip")

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``(B, dim)`` of normalized images."""
        return _features(
            self.model.get_image_features(images) if self._transformers else self.model.encode_image(images)
        )

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Features ``(B, dim)``."""
        if self._transformers:
            mask = {} if attention_mask is None else {"attention_mask": attention_mask}
            return _features(self.model.get_text_features(input_ids, **mask))
        return _features(self.model.encode_text(input_ids))

    def lock_image(self) -> None:
        """Freeze the network of images, but not its projection where that is apart (LiT, Zhai et al., 2022)."""
        (self.model.vision_model if self._transformers else self.model.visual).requires_grad_(False)


def _is_of_transformers(network: Any) -> bool:
    """True for models of transformers, also with adapters of peft around them."""
    inside = network.get_base_model() if hasattr(network, "get_base_model") else network
    return isinstance(inside, PreTrainedModel)


def _pooled(output: Any, mask: Tensor | None) -> Tensor:
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    tokens: Tensor = output.last_hidden_state
    if tokens.ndim == 4:  # maps of a convolutional network
        return tokens.mean(dim=(2, 3))
    if mask is None:
        return tokens.mean(dim=1)
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def _features(found: Any) -> Tensor:
    # Since transformers 5 the features come inside an output.
    return found if isinstance(found, Tensor) else cast(Tensor, found.pooler_output)
