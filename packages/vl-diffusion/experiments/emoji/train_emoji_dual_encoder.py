"""Train the baseline of the emoji diffusion model: a dual encoder (Radford et al., 2021, "CLIP") on the same images.

A small residual CNN encodes the image and a text encoder like the diffusion model's encodes the name; a contrastive
loss pulls an image and its name together. Images, captions and augmentation are those of `train_emoji_pixart`. Settings
are chosen on the held-out style's validation images: each run appends one row to
`packages/vl-diffusion/results/emoji_dual_encoder.csv` with its accuracy there::

    python packages/vl-diffusion/experiments/emoji/train_emoji_dual_encoder.py --out runs/emoji_dual_encoder

The folder then holds `model.safetensors` and `model.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from emoji_images import (
    HELD_OUT_STYLE,
    TRAINING_STYLES,
    augment,
    build_text_encoder,
    build_tokenizer,
    candidates,
    caption,
    held_out,
    open_style,
    tokenize,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Tokenizer
from vl_core.results import append_row, provenance, wilson_interval
from vl_core.training import Shuffled, TrainingSettings, fit

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share


PACKAGE = Path(__file__).resolve().parents[2]
CHOICES = 20


class Residual(nn.Module):
    """Residual block of two 3x3 convolutions with batch normalization; the first may have a stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class DualEncoder(nn.Module):
    """Encodes images and prompts as unit vectors of one space."""

    def __init__(self, vocabulary: int, *, width: int = 16, dimension: int = 128) -> None:
        super().__init__()
        self.image_encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Residual(width, width, 1),
            Residual(width, 2 * width, 2),
            Residual(2 * width, 4 * width, 2),
            Residual(4 * width, 8 * width, 1),
            nn.Flatten(),  # positions distinguish emoji, so they are not averaged
            nn.Dropout(0.2),
            nn.Linear(16 * 8 * width, dimension),
        )
        self.text_encoder = build_text_encoder(vocabulary)
        self.text_projection = nn.Linear(self.text_encoder.config.d_model, dimension)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, batch: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Scaled cosines ``(B, B)`` of images with prompts, a row an image."""
        cosine = self.encode_images(batch) @ self.encode_texts(tokens, mask).T
        return self.log_scale.clamp(max=4.6).exp() * cosine

    def encode_images(self, batch: Tensor) -> Tensor:
        """Return unit vectors ``(B, D)`` of images ``(B, 3, 32, 32)`` in -1..1."""
        return F.normalize(self.image_encoder(batch), dim=-1)

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors ``(B, D)`` of prompts, from the mean of their tokens' states."""
        states = self.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(self.text_projection(mean), dim=-1)


def contrastive_loss(similarity: Tensor, same: Tensor) -> Tensor:
    """Mean cross-entropy of both directions.

    Args:
        similarity: Scaled cosines ``(B, B)``, a row per image.
        same: bool ``(B, B)``, true for pairs of one concept, all of which are positives.
    """
    target = same.float() / same.float().sum(1, keepdim=True)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target.T)) / 2


def train(tokenizer: T5Tokenizer, args: argparse.Namespace) -> DualEncoder:
    """Fit a model; everything random comes from ``args.seed``."""
    emoji = open_style(*TRAINING_STYLES)
    names = {label: number for number, label in enumerate(sorted(set(emoji.labels)))}
    concept = torch.tensor([names[label] for label in emoji.labels])
    torch.manual_seed(args.seed)
    model = DualEncoder(len(tokenizer), width=args.width).to(memory_format=torch.channels_last)
    kernels = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    )
    updates = args.epochs * (len(emoji.labels) // args.batch)
    settings = TrainingSettings(
        updates=updates,
        batch_size=args.batch,
        learning_rate=args.peak_lr,
        warmup=min(updates // 20 + 1, updates),
        max_grad_norm=1.0,
        seed=args.seed,
    )

    def loss(network: nn.Module, index: Tensor, step: int) -> Tensor:
        seed = args.seed * 1_000_003 + step
        generator, chooser = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        index = index.cpu()
        batch = augment(emoji, index, generator, args.augmentation).contiguous(memory_format=torch.channels_last)
        tokens, mask = tokenize(tokenizer, [caption(emoji, i, args.tag_share, chooser) for i in index.tolist()])
        device = model.log_scale.device
        same = concept[index][:, None] == concept[index]
        return contrastive_loss(network(batch.to(device), tokens.to(device), mask.to(device)), same.to(device))

    script = {name: value for name, value in vars(args).items() if name not in ("out", "results", "threads")}
    fit(
        model,
        Shuffled(range(len(emoji.labels)), args.seed),
        loss,
        settings,
        args.out,
        optimizer=optimizer,
        config={"script": script},
    )
    model.cpu()
    return model.eval()


@torch.no_grad()
def choose(model: DualEncoder, tokenizer: T5Tokenizer, batch: Tensor, choices: list[list[str]]) -> list[str]:
    """Choose the nearest of each image's candidate names."""
    names = sorted({name for row in choices for name in row})
    place = {name: number for number, name in enumerate(names)}
    texts = model.encode_texts(*tokenize(tokenizer, names))
    images = torch.cat([model.encode_images(batch[start : start + 256]) for start in range(0, len(batch), 256)])
    best = [(texts[[place[name] for name in row]] @ image).argmax() for image, row in zip(images, choices, strict=True)]
    return [row[int(number)] for row, number in zip(choices, best, strict=True)]


def load(folder: Path, tokenizer: T5Tokenizer) -> DualEncoder:
    """Load the model that a run saved."""
    settings = json.loads((folder / "model.json").read_text())
    model = DualEncoder(len(tokenizer), width=settings["width"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/emoji_dual_encoder"))
    parser.add_argument("--results", type=Path, default=PACKAGE / "results/emoji_dual_encoder.csv")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=16, help="channels of the first convolution, 8 or more")
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--tag-share", type=float, default=0.1, help="share of images shown with tags")
    parser.add_argument("--augmentation", type=float, default=1.0, help="strength, 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.width < 8:
        # oneDNN's AVX2 kernel writes outside the gradient of a strided 1x1 convolution of fewer channels-last inputs.
        parser.error(f"--width is {args.width}, 8 or more expected")
    torch.set_num_threads(args.threads)

    tokenizer = build_tokenizer(open_style(*TRAINING_STYLES))
    started = time.process_time()
    model = train(tokenizer, args)
    seconds = time.process_time() - started
    # Copies, since a file may not hold two names of one memory, as tied embeddings are.
    save_file({name: t.clone().contiguous() for name, t in model.state_dict().items()}, args.out / "model.safetensors")
    (args.out / "model.json").write_text(json.dumps({"width": args.width}) + "\n")

    batch, labels = held_out(settings=True)
    pool, right, total = open_style(HELD_OUT_STYLE).labels, 0, 0
    for seed in range(3):
        chosen = choose(model, tokenizer, batch, candidates(labels, pool, CHOICES, seed))
        right, total = right + sum(map(str.__eq__, chosen, labels)), total + len(labels)
    low, high = wilson_interval(right // 3, total // 3)
    settings = {key: value for key, value in vars(args).items() if key not in ("out", "results")}
    row: dict[str, object] = settings | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation_images": total // 3,
        "accuracy": f"{100 * right / total:.2f}",
        "low": f"{100 * low:.2f}",
        "high": f"{100 * high:.2f}",
        "cpu_seconds": f"{seconds:.0f}",
    }
    row |= provenance()
    print(" ".join(f"{name}={value}" for name, value in row.items()))
    append_row(args.results, row)


if __name__ == "__main__":
    main()
