"""Masked autoencoding: pre-training of a teacher for attention transfer on unlabeled images.

He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022: most patches are masked, the encoder sees the
rest, and a small decoder predicts the pixels of the masked patches. Written from the paper; unlike there, the decoder's
position embeddings are learned.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from vl_attention.models.inference import check_images, eval_mode
from vl_attention.models.normalization import Normalization


class MaskedAutoencoder(nn.Module):
    """A masked autoencoder around a timm encoder.

    Args:
        encoder: A timm `VisionTransformer`; its head is not used.
        mask_ratio: Fraction of the patches that are masked.
        decoder_width: Channels of the decoder.
        decoder_depth: Number of blocks of the decoder.
        decoder_heads: Number of attention heads of the decoder; must divide its width.
        target_epsilon: Added to the variance when the target pixels are normalized within each patch; None predicts
            pixels without normalization within patches.
        normalization: Normalization of images in 0..1; default: the encoder's.

    Raises:
        TypeError: If the encoder is not a timm `VisionTransformer`.
        ValueError: If the ratio leaves no visible or no masked patch, or the encoder has a distillation token.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mask_ratio: float = 0.75,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        target_epsilon: float | None = 1e-6,
        normalization: Normalization | None = None,
    ):
        super().__init__()
        if not isinstance(encoder, VisionTransformer):
            raise TypeError(f"encoder must be timm's VisionTransformer, got {type(encoder).__name__}")
        if getattr(encoder, "dist_token", None) is not None:
            raise ValueError(
                "encoder must have no distillation token, which masked autoencoding does not use; build it without one"
            )
        self.student: Any = encoder
        self.student_normalization = normalization or Normalization.of(encoder)
        embed = self.student.patch_embed
        self.patch_size: tuple[int, int] = embed.patch_size
        self.target_epsilon = target_epsilon
        self.num_visible = round(embed.num_patches * (1 - mask_ratio))
        if not 0 < self.num_visible < embed.num_patches:
            raise ValueError(
                f"mask_ratio must leave some of the {embed.num_patches} patches visible and some masked; got "
                f"{mask_ratio}"
            )
        pixels = self.patch_size[0] * self.patch_size[1] * embed.proj.in_channels
        self.decoder = nn.ModuleDict(
            {
                "embed": nn.Linear(self.student.embed_dim, decoder_width),
                "blocks": nn.Sequential(
                    *(Block(decoder_width, decoder_heads, qkv_bias=True, mlp_layer=Mlp) for _ in range(decoder_depth))
                ),
                "norm": nn.LayerNorm(decoder_width),
                "predict": nn.Linear(decoder_width, pixels),
            }
        )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder_positions = nn.Parameter(torch.zeros(1, embed.num_patches, decoder_width))
        for parameter in (self.mask_token, self.decoder_positions):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, images: Tensor, order: Tensor | None = None) -> Tensor:
        """Mean squared error over the masked patches, a scalar.

        Args:
            images: ``(B, C, H, W)`` in 0..1.
            order: ``(B, patches)``, a permutation for each image; its first `num_visible` entries are visible. Default:
                drawn from PyTorch's generator.
        """
        check_images(images, self)
        normalized = self.student_normalization(images)
        if order is None:
            order = torch.rand(len(images), self.student.patch_embed.num_patches, device=images.device).argsort(1)
        predicted = self.predict(self.encode(normalized, order[:, : self.num_visible]), order)
        masked = order[:, self.num_visible :]
        errors = (predicted.float() - self.targets(normalized)).square().mean(-1)
        return errors.gather(1, masked).mean()

    @torch.no_grad()
    def reconstruct(self, images: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Masked images (masked patches gray) and reconstructed images, both with the shape of ``images``.

        If targets are normalized within patches, predictions are denormalized with the true patch's mean and standard
        deviation.

        Args:
            images: ``(B, C, H, W)`` in 0..1.
            seed: Seed of the choice of masked patches.
        """
        check_images(images, self)
        generator = torch.Generator().manual_seed(seed)
        order = torch.rand(len(images), self.student.patch_embed.num_patches, generator=generator).argsort(1)
        order = order.to(images.device)
        with eval_mode(self):
            normalized = self.student_normalization(images)
            predicted = self.predict(self.encode(normalized, order[:, : self.num_visible]), order).float()
        mean, scale = self._patch_statistics(normalized)
        masked = torch.zeros_like(predicted[..., :1]).scatter_(1, order[:, self.num_visible :, None], 1)
        masked = masked.expand_as(predicted)
        size = tuple(images.shape[-2:])
        mask, filled = (
            nn.functional.fold(patches.mT, size, self.patch_size, stride=self.patch_size)
            for patches in (masked, predicted * scale + mean)
        )
        norm = self.student_normalization
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (norm.mean, norm.std))
        filled = (filled * std + mean).clamp(0, 1)
        return torch.where(mask.bool(), 0.5, images), torch.where(mask.bool(), filled, images)

    def compile_blocks(self, **options: Any) -> MaskedAutoencoder:
        """Compile each block of the encoder and decoder with `torch.compile`."""
        for block in (*self.student.blocks, *self.decoder["blocks"]):  # type: ignore[misc]
            block.compile(**options)
        return self

    def encode(self, normalized: Tensor, indices: Tensor) -> Tensor:
        """Encode the visible patches ``(B, num_visible)`` of normalized images to ``(B, prefix + num_visible, width)``.

        Raises:
            ValueError: If the images do not have the encoder's size although it accepts others.
        """
        encoder = self.student
        patches = encoder.patch_embed(normalized)
        if encoder.dynamic_img_size:
            patches = patches.flatten(1, 2)
            if patches.shape[1] != encoder.patch_embed.num_patches:
                raise ValueError(
                    f"images must have the encoder's size {tuple(encoder.patch_embed.img_size)}, got "
                    f"{tuple(normalized.shape[-2:])}; the decoder has position embeddings for that size only"
                )
        prefix = [token for token in (encoder.cls_token, encoder.reg_token) if token is not None]
        positions = encoder.pos_embed
        if positions is not None:
            own = positions.shape[1] - patches.shape[1]  # prefix tokens may have some
            patches = patches + positions[:, own:]
            if own and prefix:
                prefix = [torch.cat(prefix, 1) + positions[:, :own]]
        visible = _select(patches, indices)
        tokens = torch.cat([*(token.expand(len(visible), -1, -1) for token in prefix), visible], 1)
        return encoder.norm(encoder.blocks(encoder.norm_pre(tokens)))  # type: ignore[no-any-return]

    def predict(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Predict the pixels of all patches ``(B, patches, pixels)`` from the encoder's tokens and the patch order."""
        tokens = self.decoder["embed"](tokens)
        visible = tokens[:, tokens.shape[1] - self.num_visible :]
        masked = self.mask_token.expand(len(visible), order.shape[1] - self.num_visible, -1).to(visible.dtype)
        patches = _select(torch.cat([visible, masked], 1), order.argsort(1)) + self.decoder_positions
        tokens = torch.cat([tokens[:, : tokens.shape[1] - self.num_visible].to(patches.dtype), patches], 1)
        tokens = self.decoder["norm"](self.decoder["blocks"](tokens))
        return self.decoder["predict"](tokens[:, tokens.shape[1] - order.shape[1] :])  # type: ignore[no-any-return]

    def targets(self, normalized: Tensor) -> Tensor:
        """Prediction targets ``(B, patches, pixels)``: pixels, by default normalized within each patch."""
        mean, scale = self._patch_statistics(normalized)
        return (self._patches(normalized) - mean) / scale

    def _patches(self, normalized: Tensor) -> Tensor:
        """Pixels by patch, ``(B, patches, pixels)``."""
        return nn.functional.unfold(normalized.float(), self.patch_size, stride=self.patch_size).mT

    def _patch_statistics(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale ``(B, patches, 1)`` for normalizing targets: 0 and 1 if they are not normalized."""
        pixels = self._patches(normalized)
        mean, variance = pixels.mean(-1, keepdim=True), pixels.var(-1, keepdim=True)
        if self.target_epsilon is None:
            return torch.zeros_like(mean), torch.ones_like(mean)
        return mean, (variance + self.target_epsilon).sqrt()


def _select(tokens: Tensor, indices: Tensor) -> Tensor:
    """Select tokens ``(B, N, D)`` at indices ``(B, n)``."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
