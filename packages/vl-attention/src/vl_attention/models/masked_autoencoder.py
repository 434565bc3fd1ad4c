"""Masked autoencoding: a teacher for attention transfer from images without labels.

He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022: most patches are hidden, the encoder sees the
rest, and a small decoder predicts the pixels of what is hidden. Written from the paper; unlike there, the decoder's
positions are learned.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from vl_attention.models.calling import check_images, evaluating
from vl_attention.models.normalization import Normalization


class MaskedAutoencoder(nn.Module):
    """An encoder that learns to see from what is hidden.

    Args:
        encoder: A `VisionTransformer` of timm; its head is not used.
        mask_ratio: Share of the patches that are hidden.
        decoder_width: Channels of the decoder.
        decoder_depth: Its blocks.
        decoder_heads: Its heads; must divide the width.
        target_epsilon: Added to the variance of a patch's pixels, by which they are normalized; None predicts the
            pixels as the encoder's normalization leaves them.
        normalization: How images in 0..1 enter; default: as the encoder says.

    Raises:
        TypeError: If the encoder is none of timm's `VisionTransformer`.
        ValueError: If the share leaves no patch to see or none to predict, or the encoder has a distillation token.
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
            raise ValueError("encoder must have no distillation token: masked autoencoding has no use for it")
        self.student: Any = encoder
        self.student_normalization = normalization or Normalization.of(encoder)
        embed = self.student.patch_embed
        self.patch_size: tuple[int, int] = embed.patch_size
        self.target_epsilon = target_epsilon
        self.seen = round(embed.num_patches * (1 - mask_ratio))
        if not 0 < self.seen < embed.num_patches:
            raise ValueError(
                f"mask_ratio must leave some of {embed.num_patches} patches to see and some to predict; got "
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
        """Mean squared error over the hidden patches, a scalar.

        Args:
            images: ``(B, C, H, W)`` in 0..1.
            order: ``(B, patches)``, a permutation for each image; its first `seen` entries are seen. Default: drawn
                from PyTorch's generator.
        """
        check_images(images)
        normalized = self.student_normalization(images)
        if order is None:
            order = torch.rand(len(images), self.student.patch_embed.num_patches, device=images.device).argsort(1)
        predicted = self.predict(self.encode(normalized, order[:, : self.seen]), order)
        hidden = order[:, self.seen :]
        errors = (predicted.float() - self.targets(normalized)).square().mean(-1)
        return errors.gather(1, hidden).mean()

    @torch.no_grad()
    def reconstruct(self, images: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images with their hidden patches gray, and with what is predicted in their place: both as ``images``.

        Where targets are normalized by patch, so are predictions; they are given the true patch's mean and deviation.

        Args:
            images: ``(B, C, H, W)`` in 0..1.
            seed: Of which patches are hidden.
        """
        check_images(images)
        generator = torch.Generator().manual_seed(seed)
        order = torch.rand(len(images), self.student.patch_embed.num_patches, generator=generator).argsort(1)
        order = order.to(images.device)
        with evaluating(self):
            normalized = self.student_normalization(images)
            predicted = self.predict(self.encode(normalized, order[:, : self.seen]), order).float()
        mean, scale = self._patch_statistics(normalized)
        hidden = torch.zeros_like(predicted[..., :1]).scatter_(1, order[:, self.seen :, None], 1).expand_as(predicted)
        size = tuple(images.shape[-2:])
        mask, guessed = (
            nn.functional.fold(patches.mT, size, self.patch_size, stride=self.patch_size)
            for patches in (hidden, predicted * scale + mean)
        )
        own = self.student_normalization
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (own.mean, own.std))
        guessed = (guessed * std + mean).clamp(0, 1)
        return torch.where(mask.bool(), 0.5, images), torch.where(mask.bool(), guessed, images)

    def compile_blocks(self, **options: Any) -> MaskedAutoencoder:
        """Compile each block of encoder and decoder with `torch.compile`."""
        for block in (*self.student.blocks, *self.decoder["blocks"]):  # type: ignore[misc]
            block.compile(**options)
        return self

    def encode(self, normalized: Tensor, places: Tensor) -> Tensor:
        """Tokens ``(B, prefix + seen, width)`` of normalized images, of these patches alone ``(B, seen)``.

        Raises:
            ValueError: If the images are not of the encoder's size, where it would take another.
        """
        encoder = self.student
        patches = encoder.patch_embed(normalized)
        if encoder.dynamic_img_size:
            patches = patches.flatten(1, 2)
            if patches.shape[1] != encoder.patch_embed.num_patches:
                raise ValueError(
                    f"images must have the encoder's size {tuple(encoder.patch_embed.img_size)}, got "
                    f"{tuple(normalized.shape[-2:])}; the decoder has positions for that size alone"
                )
        prefix = [token for token in (encoder.cls_token, encoder.reg_token) if token is not None]
        positions = encoder.pos_embed
        if positions is not None:
            own = positions.shape[1] - patches.shape[1]  # the tokens before the patches may have some
            patches = patches + positions[:, own:]
            if own and prefix:
                prefix = [torch.cat(prefix, 1) + positions[:, :own]]
        seen = _at(patches, places)
        tokens = torch.cat([*(token.expand(len(seen), -1, -1) for token in prefix), seen], 1)
        return encoder.norm(encoder.blocks(encoder.norm_pre(tokens)))  # type: ignore[no-any-return]

    def predict(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Pixels of all patches ``(B, patches, pixels)`` from the encoder's tokens and the order of the patches."""
        tokens = self.decoder["embed"](tokens)
        seen = tokens[:, tokens.shape[1] - self.seen :]
        hidden = self.mask_token.expand(len(seen), order.shape[1] - self.seen, -1).to(seen.dtype)
        patches = _at(torch.cat([seen, hidden], 1), order.argsort(1)) + self.decoder_positions
        tokens = torch.cat([tokens[:, : tokens.shape[1] - self.seen].to(patches.dtype), patches], 1)
        tokens = self.decoder["norm"](self.decoder["blocks"](tokens))
        return self.decoder["predict"](tokens[:, tokens.shape[1] - order.shape[1] :])  # type: ignore[no-any-return]

    def targets(self, normalized: Tensor) -> Tensor:
        """What is to be predicted, ``(B, patches, pixels)``: pixels, by default normalized within each patch."""
        mean, scale = self._patch_statistics(normalized)
        return (self._patches(normalized) - mean) / scale

    def _patches(self, normalized: Tensor) -> Tensor:
        """``(B, patches, pixels)``."""
        return nn.functional.unfold(normalized.float(), self.patch_size, stride=self.patch_size).mT

    def _patch_statistics(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """What targets are normalized by, mean and scale ``(B, patches, 1)``: 0 and 1 where they are not."""
        pixels = self._patches(normalized)
        mean, variance = pixels.mean(-1, keepdim=True), pixels.var(-1, keepdim=True)
        if self.target_epsilon is None:
            return torch.zeros_like(mean), torch.ones_like(mean)
        return mean, (variance + self.target_epsilon).sqrt()


def _at(tokens: Tensor, places: Tensor) -> Tensor:
    """Tokens ``(B, N, D)`` at places ``(B, n)``."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
