r"""Train the models that vl-vlm ships: dual encoders of procedural scenes, with InfoNCE and with the sigmoid loss.

    python packages/vl-vlm/experiments/scenes/train_scene_models.py --save

Both have the same networks, images and order of images. Rerun to resume; `--save` writes the weights in half precision
into the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from vl_vlm.evaluation.scene_report import evaluate_scenes
from vl_vlm.models.dual_encoder import ContrastiveLoss
from vl_vlm.models.folders import PRETRAINED
from vl_vlm.models.small import small_dual_encoder
from vl_vlm.scenes.dataset import make_scenes
from vl_vlm.scenes.vocabulary import SPLITS
from vl_vlm.training.contrastive import train_dual_encoder
from vl_vlm.training.settings import small_recipe

NAMES: dict[str, ContrastiveLoss] = {"scenes-clip": "info_nce", "scenes-siglip": "sigmoid"}
"""Losses by name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, and print group scores and accuracy of combinations that training shows and does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--out", type=Path, default=Path("runs/scene_models"))
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--scenes", type=int, default=20_000)
    parser.add_argument("--save", action="store_true", help="write the weights into the package")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    scenes = make_scenes(given.scenes).in_memory(progress=True)
    captions = [caption for own in scenes.captions for caption in own]
    for name in given.names:
        torch.manual_seed(0)
        model = small_dual_encoder(
            captions,
            image_size=32,
            patch_size=4,
            width=64,
            depth=4,
            text_depth=2,
            dim=64,
            vocabulary_size=400,
            loss=NAMES[name],
        )
        settings = replace(small_recipe(), updates=given.updates, warmup=min(100, given.updates))
        train_dual_encoder(model, scenes, settings, given.out / name)
        for split in SPLITS[1:]:
            print(f"{name}, {split}\n{evaluate_scenes(model, 500, split=split)}", flush=True)
        model.save_pretrained(given.out / name / "model")
        if given.save:
            model.save_pretrained(PRETRAINED / name, dtype=torch.float16)


if __name__ == "__main__":
    main()
