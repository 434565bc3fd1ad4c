r"""Train the source classifiers of vl-diffusion's study of test-time adaptation.

Small convolutional networks (`vl_diffusion.models.small_cnn`) on some or all of Fashion-MNIST's training images,
flipped and shifted by up to two pixels, and with ``--augment`` augmented like those of the study's diffusion model.
Each class gives equally many labels, chosen by the seed::

    VL_DATA=<folder with fashion_mnist/> \
        python packages/vl-diffusion/experiments/fashion/train_fashion_sources.py --labels 500 --seeds 0 1 2 --out DIR

writes `DIR/seed-0` and so on (weights in float16), and prints the accuracy of each on the held-out images.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from train_fashion_cnn import augment, held_out
from vl_core.data import open_dataset
from vl_core.data.idx import read_idx
from vl_diffusion.models.small_cnn import SmallCNN

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from augmentation import augmented
from vl_core.training import TrainingSettings


def labeled_part(labels: Tensor, count: int | None, seed: int) -> Tensor:
    """Choose indices of `count` images, equally many per class, by the seed; all for None."""
    if count is None:
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    classes = int(labels.max()) + 1
    return torch.cat([order[labels[order] == label][: count // classes] for label in range(classes)])


def train(images: Tensor, labels: Tensor, classes: tuple[str, ...], seed: int, args: argparse.Namespace) -> SmallCNN:
    """Fit a network to bytes ``(N, 28, 28)`` and labels ``(N,)``; everything random comes from the seed."""
    torch.manual_seed(seed)
    model = SmallCNN(args.width, classes=classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.peak_lr, weight_decay=args.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(args.batch, len(images))
    schedule = TrainingSettings(
        updates=args.steps, batch_size=args.batch, learning_rate=args.peak_lr, warmup=args.steps // 10
    )
    bar = tqdm(range(args.steps), desc=f"seed {seed}", mininterval=5)
    for step in bar:
        index = torch.randint(len(images), (batch_size,), generator=generator)
        batch = augment(images[index], shift=2, generator=generator)[:, None].float().div(255)
        if args.augment:
            batch = augmented(batch, generator)
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate_at(step)
        loss = F.cross_entropy(model(batch.contiguous(memory_format=torch.channels_last)), labels[index])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    return model.eval()


@torch.no_grad()
def accuracy(model: SmallCNN, images: Tensor, labels: Tensor) -> float:
    """Accuracy of the model on images ``(N, 28, 28)``, from 0 to 1."""
    predicted = torch.cat([model(part[:, None].float().div(255)).argmax(1) for part in torch.split(images, 250)])
    return float((predicted == labels).float().mean())


def main() -> None:
    """Train a network for each seed, save it, and print its accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")) / "fashion_mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_sources"))
    parser.add_argument("--labels", type=int, help="train on this many images only, equally many per class")
    parser.add_argument("--augment", action="store_true", help="show dim, hazy, blurred, coarse and noisy images")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--peak-lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    images = torch.from_numpy(read_idx(args.data / "train-images-idx3-ubyte.gz"))
    labels = torch.from_numpy(read_idx(args.data / "train-labels-idx1-ubyte.gz").astype(np.int64))
    classes = tuple(open_dataset("fashion").classes)
    test_images, test_labels = held_out()
    for seed in args.seeds:
        part = labeled_part(labels, args.labels, seed)
        model = train(images[part], labels[part], classes, seed, args)
        percent = 100 * accuracy(model, test_images, test_labels)
        model.half().save_pretrained(args.out / f"seed-{seed}")
        print(f"seed {seed}: {len(part)} labels, accuracy {percent:.2f} % on {len(test_labels)} held-out images")


if __name__ == "__main__":
    main()
