"""Distill the start encoder that vl-explorer ships from EfficientNet-Lite0; rerun to resume.

    cd packages/vl-explorer/experiments/start_encoder
    VL_DATA=../../../../../shared/data python distill_start_encoder.py --out runs/start

A small ResNet that sees 32 pixels learns the features of a network that sees 128: of each image by a linear map, and
the cosines between the images of a batch, which rewards are made of (relational distillation: Park, Kim, Lu and Cho,
2019). No label is read. The result goes to `src/vl_explorer/rewards/start_encoder/` in float16;
`measure_start_encoders.py` compares it with others.
"""

from __future__ import annotations

import argparse
import copy
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from start_images import training_images
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from vl_core.progress import progress_bar
from vl_core.runs import atomic_write
from vl_core.training import TrainingSettings, fit
from vl_explorer import NetworkEncoder, open_start_backbone
from vl_ssl import Augmentation, Backbone, MultiEpoch, View, save_backbone, small_resnet

SHIPPED = Path(__file__).resolve().parents[2] / "src" / "vl_explorer" / "rewards" / "start_encoder"
SIDE, WIDTH, BATCH, CHUNK = 32, 16, 128, 512
VIEW = View(SIDE, crop_scale=(0.5, 1.0), jitter=0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, gray=0.05)
RELATIONS = 10.0
"""Weight of the cosines between images."""


class Student(nn.Module):
    """A backbone, and a linear map to the features of the teacher."""

    def __init__(self, backbone: Backbone, features: int):
        super().__init__()
        self.backbone, self.linear = backbone, nn.Linear(backbone.num_features, features)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, d)``, and those of the teacher as predicted ``(B, D)``."""
        features = self.backbone(images)
        return features, self.linear(features)


class Pairs(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Image, the teacher's features and the position, in the order of a schedule."""

    def __init__(self, images: Tensor, features: Tensor, schedule: MultiEpoch):
        self._images, self._features, self._schedule = images, features, schedule

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        index = self._schedule.index(position)
        return self._images[index], self._features[index], torch.tensor(position)


def teacher_features(images: Tensor, folder: Path) -> Tensor:
    """Features ``(n, 1280)`` of the teacher, of unit length; computed once."""
    encode, found = None, []
    for number, start in enumerate(progress_bar(range(0, len(images), CHUNK), desc="teacher", unit="chunk")):
        path = folder / f"{number:04d}.npy"
        if not path.exists():
            backbone = open_start_backbone("imagenet").to(memory_format=torch.channels_last)
            encode = encode or NetworkEncoder(backbone, image_size=128, name="imagenet")
            chunk = images[start : start + CHUNK].permute(0, 2, 3, 1).numpy()
            rows = encode([Image.fromarray(pixels) for pixels in chunk])
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "wb") as file:
                np.save(file, rows.astype(np.float16))
        found.append(torch.from_numpy(np.load(path)).float())
    return torch.cat(found)


def cosines(features: Tensor) -> Tensor:
    """Cosines ``(B, B)`` between images."""
    rows = F.normalize(features)
    return rows @ rows.T


def main() -> None:
    """Distill, and write the folder of the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--to", type=Path, default=SHIPPED, help="folder of the encoder")
    args = parser.parse_args()
    images = training_images(args.data)
    teacher = teacher_features(images, args.out / "teacher")
    torch.manual_seed(0)
    student = Student(small_resnet(WIDTH, "10", channels=3, stem_stride=2), teacher.shape[1])
    augmentation = Augmentation(VIEW)
    schedule = MultiEpoch(len(images), args.epochs, seed=0)

    def loss(model: nn.Module, batch: list[Tensor], _: int) -> Tensor:
        shown, wanted, positions = batch
        (views,) = augmentation.views(shown, positions, seed=0, count=1)
        features, predicted = model(views)
        direct = 1 - F.cosine_similarity(predicted, wanted).mean()
        return direct + RELATIONS * F.mse_loss(cosines(features), cosines(wanted))

    settings = TrainingSettings(
        updates=args.epochs * len(images) // BATCH, batch_size=BATCH, learning_rate=2e-3, warmup=100, weight_decay=1e-2
    )
    fit(student, Pairs(images, teacher, schedule), loss, settings, args.out / "run", checkpoint_every=200)
    save_backbone(copy.deepcopy(student.backbone).half(), args.to)


if __name__ == "__main__":
    main()
