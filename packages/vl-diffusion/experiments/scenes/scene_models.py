"""Networks that segment the scenes of `scenes.py` or predict their depth, and how trained models are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from scenes import CLASSES, FARTHEST, NEAREST, Views, make_views
from torch import Tensor, nn
from vl_diffusion import DepthTask, MapConditionalDenoiser, SegmentationTask

Task = Literal["segmentation", "depth"]
TASKS: tuple[Task, ...] = ("segmentation", "depth")

SIZE = 24
"""Of the images, in pixels."""

SPLITS = {"denoiser": 0, "predictor": 1, "choose": 2, "test": 3}
"""Seeds of the scenes: what each kind of model is trained on, what settings are chosen on, and what is reported."""

RESULTS = Path(__file__).resolve().parents[2] / "results"
MODELS = Path("runs")
"""Folder in which training leaves `TASK_denoiser/model` and `TASK_predictor_SEED/model`.

The weights are not committed."""


def scenes_of(split: str, count: int, first: int = 0) -> Views:
    """Render ``count`` scenes of a split, beginning at number ``first``."""
    return make_views(SPLITS[split], range(first, first + count), size=SIZE)


class Predictor(nn.Module):
    """Encoder and decoder over three resolutions, from images to logits of `CLASSES` or depths per pixel.

    Args:
        task: ``"segmentation"`` or ``"depth"``.
        width: Channels at the full resolution.
    """

    def __init__(self, task: Task, width: int = 16) -> None:
        super().__init__()
        self.task, self.width = task, width
        self.fine = _layers(3, width)
        self.middle = _layers(width, 2 * width)
        self.coarse = _layers(2 * width, 4 * width)
        self.to_middle = _layers(6 * width, 2 * width)
        self.to_fine = _layers(3 * width, width)
        self.head = nn.Conv2d(width, len(CLASSES) if task == "segmentation" else 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        middle = self.middle(nn.functional.avg_pool2d(fine, 2))
        coarse = self.coarse(nn.functional.avg_pool2d(middle, 2))
        middle = self.to_middle(torch.cat([_doubled(coarse), middle], 1))
        output: Tensor = self.head(self.to_fine(torch.cat([_doubled(middle), fine], 1)))
        return output if self.task == "segmentation" else NEAREST + (FARTHEST - NEAREST) * output.sigmoid()

    def save(self, folder: Path) -> None:
        """Write `config.json` and the weights in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"task": self.task, "width": self.width}, indent=1) + "\n")
        save_file({name: value.half() for name, value in self.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Load what :meth:`save` wrote, in evaluation mode."""
        model = cls(**json.loads((folder / "config.json").read_text()))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()


def load_predictor(task: Task, seed: int, models: Path = MODELS) -> Predictor:
    """Load the trained network of a task and seed; exit with the command that trains it if there is none."""
    command = f"train_scene_predictor.py --task {task} --seed {seed}"
    return Predictor.load(_trained(models / f"{task}_predictor_{seed}", command))


def load_task(task: Task, models: Path = MODELS) -> tuple[MapConditionalDenoiser, SegmentationTask | DepthTask]:
    """Load the denoiser of a task, and the task as `TestTimeAdapter` takes it; exit likewise if there is none."""
    folder = _trained(models / f"{task}_denoiser", f"train_scene_denoiser.py --task {task}")
    denoiser = MapConditionalDenoiser.from_pretrained(folder)
    if task == "segmentation":
        return denoiser, SegmentationTask(denoiser)
    return denoiser, DepthTask(denoiser, NEAREST, FARTHEST)


def maps_of(task: Task, views: Views) -> Tensor:
    """Exact maps of scenes in the form that the denoiser of a task is conditioned on, ``(B, C, size, size)``."""
    if task == "segmentation":
        return nn.functional.one_hot(views.masks, len(CLASSES)).permute(0, 3, 1, 2).float()
    return 2 * (views.depths - NEAREST) / (FARTHEST - NEAREST) - 1


def _trained(run: Path, command: str) -> Path:
    """Return the model's folder in that of a training run."""
    if not (run / "model").is_dir():
        raise SystemExit(
            f"--models must hold {run.name}/model, found none in {run.parent}; its weights are not committed; "
            f"train them with\n  python packages/vl-diffusion/experiments/scenes/{command} --out {run}"
        )
    return run / "model"


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with group normalization and a gate."""
    parts: list[Any] = []
    for channels in (inputs, outputs):
        parts += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.GroupNorm(4, outputs), nn.SiLU()]
    return nn.Sequential(*parts)


def _doubled(maps: Tensor) -> Tensor:
    return nn.functional.interpolate(maps, scale_factor=2.0, mode="nearest")
