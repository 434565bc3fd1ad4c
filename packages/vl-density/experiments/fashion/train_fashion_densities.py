r"""Train the densities that vl-density ships: Fashion-MNIST without shirts.

    python packages/vl-density/experiments/fashion/train_fashion_densities.py

Four PixelCNNs with equal settings and other seeds: three of the images, for likelihood, complexity, typicality and
WAIC, and one of mutated images, the background of the likelihood ratio. Shirts are held out, to be tried as images that
are out of the distribution but near. Rerun to resume; `--save` writes the weights in half precision into the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import TensorDataset
from vl_core.training import TrainingSettings
from vl_density.datasets.outside import open_fashion
from vl_density.models.folders import PRETRAINED
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.ood.likelihoods import log_probs
from vl_density.quantization import bits_per_dim
from vl_density.training.likelihood import train_density

DENSITIES = {"fashion-0": 0.0, "fashion-1": 0.0, "fashion-2": 0.0, "fashion-background": 0.2}
"""Share of values that training mutates, by name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print bits per dimension of held-out images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=DENSITIES, default=list(DENSITIES))
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_densities"))
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--save", action="store_true", help="write the weights into the package")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = open_fashion("train"), open_fashion("test")
    for name in given.names:
        seed = list(DENSITIES).index(name)
        torch.manual_seed(seed)
        model = PixelCNN(
            image_size=(28, 28),
            channels=1,
            width=32,
            layers=5,
            head="logistic-mixture",
            head_options={"components": 5},
        )
        settings = TrainingSettings(
            updates=given.updates,
            batch_size=32,
            learning_rate=2e-3,
            warmup=50,
            ema_decay=0.99,
            max_grad_norm=1,
            seed=seed,
        )
        data = TensorDataset(train)
        train_density(model, data, settings, given.out / name, mutation_rate=DENSITIES[name], order_seed=seed)
        bits = bits_per_dim(torch.from_numpy(log_probs(model, test)), model.dimensions).mean()
        print(f"{name}: {bits:.3f} bits per dimension of {len(test)} held-out images", flush=True)
        if given.save:
            model.half().save_pretrained(PRETRAINED / name)
            (PRETRAINED / name / "README.md").unlink()  # there is one card for all


if __name__ == "__main__":
    main()
