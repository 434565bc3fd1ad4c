"""Train the start encoder that vl-explorer ships, without labels; rerun to resume.

    VL_DATA=../shared/data python packages/vl-explorer/experiments/start_encoder/train_start_encoder.py --out runs/start

MoCo-v3 of vl_ssl trains a small ResNet on 32-pixel views of photographs, clip art, emoji and clothing. The result goes
to `src/vl_explorer/rewards/start_encoder/` in float16; `measure_start_encoders.py` compares it with others.
"""

from __future__ import annotations

import argparse
import copy
import os
from pathlib import Path

import torch
from start_images import training_images
from vl_ssl import MoCoV3, pretrain, save_backbone, small_pretraining, small_recipe, small_resnet

SHIPPED = Path(__file__).resolve().parents[2] / "src" / "vl_explorer" / "rewards" / "start_encoder"
SIDE = 32


def main() -> None:
    """Train, and write the folder of the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--to", type=Path, default=SHIPPED, help="folder of the encoder")
    args = parser.parse_args()
    torch.manual_seed(0)
    method = MoCoV3(small_resnet(22, "10", channels=3, stem_stride=2), projection=128, hidden=512, predictor_hidden=512)
    pretrain(
        method,
        training_images(args.data),
        small_pretraining(epochs=args.epochs, base_learning_rate=0.2),
        args.out,
        # Blur keeps the network from telling images by their compression.
        augmentation=small_recipe(SIDE, blur=0.3),
    )
    save_backbone(copy.deepcopy(method.backbone).half(), args.to)


if __name__ == "__main__":
    main()
