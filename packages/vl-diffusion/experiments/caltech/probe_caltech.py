"""Evaluate a second baseline for Caltech-101: a linear probe of a network pretrained on ImageNet.

The network was trained on a million photographs more than the diffusion model; it is an upper reference. It is
EfficientNet-Lite0 (Tan & Le, 2019, without squeeze-and-excitation and with ReLU6), read from a file that is not
committed; images are enlarged to 128x128::

    python packages/vl-diffusion/experiments/caltech/probe_caltech.py

appends one row to `packages/vl-diffusion/results/caltech.csv`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from caltech_images import DATA, read_images
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from vl_core.features import extract, linear_probe
from vl_core.results import append_row, provenance

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from diffusion_tables import RESULTS, classifier_row

WEIGHTS = Path("efficientnet_lite0/efficientnet_lite0_fp16.safetensors")
# (blocks, stride of the first) of the seven stages; widths and kernels are in the weights.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
ENLARGED = 128


class Features:
    """EfficientNet-Lite0 up to its pooled features, as a function of its weights."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name: value.float() for name, value in weights.items()}

    def __call__(self, images: Tensor) -> Tensor:
        """Bytes ``(B, 3, H, W)`` to features ``(B, 1280)``."""
        enlarged = F.interpolate(images.float(), ENLARGED, mode="bicubic", align_corners=False).clamp(0, 255)
        x = self._layer((enlarged - 127) / 128, "_conv_stem", "_bn0", stride=2)
        block = 0
        for blocks, first_stride in STAGES:
            for index in range(blocks):
                x = self._block(x, f"_blocks.{block}.", first_stride if index == 0 else 1)
                block += 1
        return self._layer(x, "_conv_head", "_bn1").mean((2, 3))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        """Inverted residual: expand, depthwise convolution, project; with a skip connection where shapes match."""
        wide = x
        if f"{name}_expand_conv.weight" in self.weights:
            wide = self._layer(x, f"{name}_expand_conv", f"{name}_bn0")
        filtered = self._layer(wide, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride)
        narrow = self._layer(filtered, f"{name}_project_conv", f"{name}_bn2", bounded=False)
        return narrow + x if narrow.shape == x.shape else narrow

    def _layer(self, x: Tensor, kernel: str, norm: str, *, stride: int = 1, bounded: bool = True) -> Tensor:
        """Convolution with TensorFlow's padding, batch normalization, and ReLU6 unless not `bounded`."""
        weight = self.weights[f"{kernel}.weight"]
        size = weight.shape[-1]
        # "Same" padding, with an odd zero on the right and at the bottom.
        total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
        x = F.pad(x, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, variance, gain, shift = (
            self.weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, variance, gain, shift, eps=1e-3)
        return F.relu6(x) if bounded else x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="caltech101_64.npz of the shared data")
    parser.add_argument("--weights", type=Path, help="default: beside the folder of --data")
    parser.add_argument("--out", type=Path, default=RESULTS / "caltech.csv")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Features(load_file(args.weights or args.data.parents[1] / WEIGHTS))
    train, test = read_images(args.data, "train"), read_images(args.data, "test")
    train_features, test_features = (extract(model, p.images, progress=True)[0] for p in (train, test))
    result = linear_probe(train_features, train.labels, test_features, test.labels)
    row = classifier_row(
        data="Caltech-101, 64 px",
        model="linear probe of EfficientNet-Lite0 (ImageNet)",
        seed=0,
        truth=test.labels.tolist(),
        predicted=result.predictions.tolist(),
        classes=len(test.classes),
        evaluations_per_image=1,
    ) | {"parameters": sum(v.numel() for v in model.weights.values()), **provenance()}
    print(" ".join(f"{name}={value}" for name, value in row.items()))
    append_row(args.out, row)


if __name__ == "__main__":
    main()
