"""Train the baseline of the Caltech-101 diffusion model: a small CNN on the same images with the same augmentation.

Six 3x3 convolutions with batch normalization, warm-up and cosine decay. It is evaluated once, at the end, on the test
images on which the diffusion model is evaluated as a classifier. Choose settings with `--validate`, which evaluates on
held-out training images and writes nothing::

    python packages/vl-diffusion/experiments/caltech/train_caltech_cnn.py --seed 0

appends one row to `packages/vl-diffusion/results/caltech.csv`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from caltech_images import Images, add_data_options, augment, draw_indices, normalize, put_aside, read_images
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm
from vl_core.results import append_row, provenance

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from diffusion_tables import RESULTS, classifier_row
from vl_core.training import TrainingSettings


def convolution(inputs: int, outputs: int, *, stride: int = 1) -> list[nn.Module]:
    """3x3 convolution, batch normalization, ReLU."""
    kernel = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [kernel, nn.BatchNorm2d(outputs), nn.ReLU()]


def build_model(width: int, classes: int) -> nn.Sequential:
    """Build a CNN from images ``(B, 3, 64, 64)`` in -1..1 to logits ``(B, classes)``, with early downsampling."""
    return nn.Sequential(
        *convolution(3, width, stride=2),
        *convolution(width, 2 * width, stride=2),
        *convolution(2 * width, 2 * width),
        *convolution(2 * width, 4 * width, stride=2),
        *convolution(4 * width, 4 * width),
        *convolution(4 * width, 4 * width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def train(images: Images, args: argparse.Namespace) -> nn.Module:
    """Fit a model; everything random comes from ``args.seed``."""
    torch.manual_seed(args.seed)
    model = build_model(args.width, len(images.classes)).to(memory_format=torch.channels_last)
    # Weight decay is for the kernels alone: gains, shifts and the bias are vectors.
    kernels = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    )
    generator = torch.Generator().manual_seed(args.seed)
    schedule = TrainingSettings(
        updates=args.steps, batch_size=args.batch, learning_rate=args.peak_lr, warmup=args.steps // 10
    )
    bar = tqdm(range(args.steps), desc="train", mininterval=5)
    for step in bar:
        index = draw_indices(images.labels, args.batch, balance=args.balance, generator=generator)
        shown = augment(normalize(images.images[index]), generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate_at(step)
        logits = model(shown.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, images.labels[index], label_smoothing=args.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predict classes ``(N,)`` of bytes ``(N, 3, 64, 64)``."""
    return torch.cat([model(normalize(part)).argmax(1) for part in torch.split(images, 128)])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--out", type=Path, default=RESULTS / "caltech.csv")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="channels of the first convolution")
    # Accuracy on held-out training images after 400 steps: 94.4 % with 2e-3, 94.1 % with 6e-3, 93.6 % with 1.5e-2, and
    # 93.3 % with 6e-3 and a width of 48.
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--balance", type=float, default=0.5, help="0 draws images uniformly, 1 classes uniformly")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, evaluate, append the row, and print it."""
    args = parse()
    torch.set_num_threads(args.threads)
    images = read_images(args.data, "train")
    if args.validate:
        images, test = put_aside(images)
    else:
        test = read_images(args.data, "test")
    model = train(images, args)
    row = classifier_row(
        data="Caltech-101, 64 px",
        model=f"CNN cnn6-{args.width}",
        seed=args.seed,
        truth=test.labels.tolist(),
        predicted=predict(model, test.images).tolist(),
        classes=len(test.classes),
        evaluations_per_image=1,
    ) | {"parameters": sum(p.numel() for p in model.parameters()), **provenance()}
    print(" ".join(f"{name}={value}" for name, value in row.items()))
    if not args.validate:
        append_row(args.out, row)


if __name__ == "__main__":
    main()
