r"""Train the text-conditional diffusion model that ships inside vl-diffusion.

A small PixArt transformer (Chen et al., 2023, "PixArt-alpha") with a small T5 encoder, both trained together from
scratch, learns to denoise 32x32 emoji of two styles given their names; there is no autoencoder. The third style is for
testing only, see `emoji_images`. Everything random comes from one seed; rerun to resume. The model that ships was
trained in two runs: the first learns images sooner than names; the second starts from its weights and the text encoder
of a dual encoder, and draws more of the strong noise, where the name matters most::

    python packages/vl-diffusion/experiments/emoji/train_emoji_dual_encoder.py --out runs/emoji_dual_encoder
    python packages/vl-diffusion/experiments/emoji/train_emoji_pixart.py --out runs/emoji_pixart_1 \
        --steps 1500 --decay-share 0 --compile
    python packages/vl-diffusion/experiments/emoji/train_emoji_pixart.py --out runs/emoji_pixart \
        --start runs/emoji_pixart_1 --dual-encoder runs/emoji_dual_encoder --steps 1400 --warm-up 50 \
        --decay-share 0.5 --ema 0.995 --focus 600 980 --focus-share 0.7 --compile

The folder then holds `model/` (what ships), `checkpoint/`, `metrics.jsonl`, and `validation.jsonl`, the
accuracy on the held-out style's validation images every `--validate-every` steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from emoji_images import (
    HELD_OUT_STYLE,
    PROMPT_LENGTH,
    TRAINING_STYLES,
    Emoji,
    augment,
    build_text_encoder,
    build_tokenizer,
    candidates,
    caption,
    held_out,
    open_style,
    tokenize,
)
from emoji_zero_shot import denoising_errors, named, spaced_timesteps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Tokenizer

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from training_options import stratified, train


class TextDenoiser(nn.Module):
    """The text encoder and the transformer as one network."""

    def __init__(
        self, vocabulary: int, *, width: int = 192, blocks: int = 6, patch: int = 8, text_width: int = 128
    ) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(vocabulary, text_width)
        self.transformer = PixArtTransformer2DModel(
            num_attention_heads=4,
            attention_head_dim=width // 4,
            in_channels=3,
            out_channels=3,
            num_layers=blocks,
            cross_attention_dim=width,
            sample_size=32,
            patch_size=patch,
            caption_channels=text_width,
            use_additional_conditions=False,
        )
        self._start_as_identity()

    def _start_as_identity(self) -> None:
        """Initialize as the authors do: cross-attention and output start at zero."""
        nn.init.normal_(self.transformer.adaln_single.linear.weight, std=0.02)
        for block in self.transformer.transformer_blocks:
            nn.init.zeros_(block.attn2.to_out[0].weight)
            nn.init.zeros_(block.attn2.to_out[0].bias)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)

    def forward(self, x_t: Tensor, timestep: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Predict the velocity ``(B, 3, 32, 32)`` of noisy images with prompts ``(B, L)``."""
        states = self.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        predicted: Tensor = self.transformer(
            x_t, encoder_hidden_states=states, encoder_attention_mask=mask, timestep=timestep
        ).sample
        return predicted


def build_scheduler() -> DDPMScheduler:
    """Build the cosine schedule of Nichol & Dhariwal (2021), a thousand steps, predicting the velocity.

    The velocity weights strong noise more than the noise does, and there the name matters most.
    """
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=True
    )


def timesteps_at(uniform: Tensor, share: float, first: int, last: int) -> Tensor:
    """Map numbers in 0..1 to time steps: this share to ``first..last``, where the name matters, the others anywhere."""
    anywhere = 1000 * uniform / max(1 - share, 1e-6)
    focused = first + (last - first) * (uniform - (1 - share)) / max(share, 1e-6)
    return torch.where(uniform < 1 - share, anywhere, focused).long().clamp(0, 999)


def batch_at(
    step: int, index: Tensor, emoji: Emoji, tokenizer: T5Tokenizer, args: argparse.Namespace
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw everything random about one step from the seed and the step alone, so that a resumed run is the same run.

    Time steps are stratified, which lowers the loss's variance.
    """
    seed = args.seed * 1_000_003 + step
    generator, chooser = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    x0 = augment(emoji, index, generator, args.augmentation)
    prompts = [
        "" if chooser.random() < args.null_share else caption(emoji, place, args.tag_share, chooser)
        for place in index.tolist()
    ]
    timestep = timesteps_at(stratified(len(index), generator), args.focus_share, *args.focus)
    noise = torch.randn(x0.shape, generator=generator)
    tokens, mask = tokenize(tokenizer, prompts)
    # One length, so that the network is compiled once.
    room = (0, PROMPT_LENGTH - tokens.shape[1])
    return x0, timestep, noise, F.pad(tokens, room), F.pad(mask, room)


def start_from(model: TextDenoiser, run: Path | None, dual_encoder: Path | None) -> None:
    """Load the EMA weights of an earlier run, and the text encoder of a dual encoder, where given.

    A dual encoder learns names in minutes; from noisy images that takes hours.
    """
    if run is not None:
        weights = load_file(run / "checkpoint" / "last.safetensors")
        model.load_state_dict({k.removeprefix("ema."): v for k, v in weights.items() if k.startswith("ema.")})
    if dual_encoder is not None:
        weights = load_file(dual_encoder / "model.safetensors")
        own = {k.removeprefix("text_encoder."): v for k, v in weights.items() if k.startswith("text_encoder.")}
        model.text_encoder.load_state_dict(own)


def as_pipeline(weights: Mapping[str, Tensor], model: TextDenoiser, tokenizer: T5Tokenizer) -> PixArtAlphaPipeline:
    """Build a pipeline without an autoencoder from these weights of a network like ``model``."""
    settings = model.transformer.config
    like = TextDenoiser(
        len(tokenizer),
        width=settings.num_attention_heads * settings.attention_head_dim,
        blocks=settings.num_layers,
        patch=settings.patch_size,
        text_width=settings.caption_channels,
    )
    like.load_state_dict(weights)
    like.eval()
    return PixArtAlphaPipeline(
        tokenizer=tokenizer,
        text_encoder=like.text_encoder,
        vae=None,
        transformer=like.transformer,
        scheduler=build_scheduler(),
    )


def validate(pipeline: PixArtAlphaPipeline, images: int, draws: int) -> float:
    """Accuracy in per cent among 20 names, on the held-out style's validation images."""
    batch, labels = held_out(settings=True)
    choices = candidates(labels, open_style(HELD_OUT_STYLE).labels, 20, seed=0)[:images]
    timesteps = spaced_timesteps(draws, 580, 990)
    errors = denoising_errors(pipeline, batch[:images], choices, timesteps, space="velocity", autocast=True)
    return 100 * float(np.mean([name == label for name, label in zip(named(errors, choices), labels, strict=False)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/emoji_pixart"))
    parser.add_argument("--start", type=Path, help="folder of an earlier run whose EMA weights to start from")
    parser.add_argument("--dual-encoder", type=Path, help="folder of a dual encoder whose text encoder to start from")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--text-width", type=int, default=128)
    parser.add_argument("--peak-lr", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=int, default=300)
    parser.add_argument(
        "--decay-share", type=float, default=0.3, help="share of the steps in which the learning rate decays"
    )
    parser.add_argument("--weight-decay", type=float, default=0.03)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--null-share", type=float, default=0.05, help="share of images shown without their name")
    parser.add_argument("--tag-share", type=float, default=0.1, help="share of images shown with tags")
    parser.add_argument("--focus", type=int, nargs=2, default=[250, 950], help="range of time steps drawn more often")
    parser.add_argument("--focus-share", type=float, default=0.5, help="share of images drawn from this range only")
    parser.add_argument("--augmentation", type=float, default=1.0, help="strength, 0 for none")
    parser.add_argument("--checkpoint-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--validate-every", type=int, default=1000, help="steps between validations, 0 for none")
    parser.add_argument("--validation-images", type=int, default=100)
    parser.add_argument("--validation-draws", type=int, default=8)
    parser.add_argument("--compile", action="store_true", help="torch.compile, faster; wants a C++ compiler")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    emoji = open_style(*TRAINING_STYLES)
    tokenizer = build_tokenizer(emoji)
    torch.manual_seed(args.seed)
    model = TextDenoiser(
        len(tokenizer), width=args.width, blocks=args.blocks, patch=args.patch, text_width=args.text_width
    ).to(device)
    start_from(model, args.start, args.dual_encoder)
    signal = build_scheduler().alphas_cumprod.double().sqrt().float().to(device)
    spread = (1 - build_scheduler().alphas_cumprod.double()).sqrt().float().to(device)

    def loss(network: nn.Module, index: Tensor, step: int) -> Tensor:
        x0, timestep, noise, tokens, mask = (t.to(device) for t in batch_at(step, index, emoji, tokenizer, args))
        alpha, sigma = signal[timestep].view(-1, 1, 1, 1), spread[timestep].view(-1, 1, 1, 1)
        predicted = network(alpha * x0 + sigma * noise, timestep, tokens, mask)
        return F.mse_loss(predicted.float(), alpha * noise - sigma * x0)

    def after_update(step: int, weights: Mapping[str, Tensor]) -> None:
        if args.validate_every and ((step + 1) % args.validate_every == 0 or step + 1 == args.steps):
            pipeline = as_pipeline(weights, model, tokenizer)
            accuracy = validate(pipeline, args.validation_images, args.validation_draws)
            with (args.out / "validation.jsonl").open("a") as file:
                file.write(json.dumps({"step": step + 1, "accuracy": accuracy}) + "\n")

    train(
        model,
        len(emoji.labels),
        loss,
        args,
        weight_decay=args.weight_decay,
        decay_share=args.decay_share,
        # The fused attention's backward in bfloat16 takes ten times longer on a CPU than few patches written out.
        math_attention=True,
        after_update=after_update,
    )
    # The EMA weights in half precision, as they ship.
    as_pipeline(model.state_dict(), model, tokenizer).to(dtype=torch.float16).save_pretrained(args.out / "model")


if __name__ == "__main__":
    main()
