"""The models of the scenes: how they are trained, what ships, and what adapts them from end to end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import adapt_scenes
import pytest
import scenes_card
import torch
import train_scene_denoiser
import train_scene_predictor
from matplotlib.image import imread
from safetensors.torch import load_file
from scene_models import MODELS, SIZE, TASKS, Predictor, Task, load_task, maps_of, scenes_of
from scenes import CLASSES
from torch import Tensor
from vl_core.results import read_rows
from vl_diffusion import Adaptation, DiffusionTTA, TestTimeAdapter
from vl_diffusion.adaptation.losses import Context

SCRIPTS = {"denoiser": train_scene_denoiser, "predictor": train_scene_predictor}
TINY = ["--scenes", 8, "--steps", 4, "--batch", 4, "--warm-up", 2, "--checkpoint-every", 2]


def run(monkeypatch: pytest.MonkeyPatch, script: object, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
    script.main()


# ---- Training ----


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", SCRIPTS)
def test_an_interrupted_training_ends_in_the_same_weights(
    kind: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = SCRIPTS[kind]
    run(monkeypatch, script, "--task", task, "--out", tmp_path / "whole", *TINY)
    draw = script.shuffled_batch

    def interrupt_at_the_last_step(step: int, *rest: int) -> Tensor:
        if step == 3:
            raise KeyboardInterrupt
        return draw(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(script, "shuffled_batch", interrupt_at_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            run(patch, script, "--task", task, "--out", tmp_path / "parted", *TINY)
    assert not (tmp_path / "parted/model").exists()
    run(monkeypatch, script, "--task", task, "--out", tmp_path / "parted", *TINY)
    whole, parted = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parted"))
    torch.testing.assert_close(parted, whole, rtol=0, atol=0)
    for file in (tmp_path / "whole/model").iterdir():
        assert (tmp_path / "parted/model" / file.name).read_bytes() == file.read_bytes()


def test_the_heavier_of_two_mixed_maps_is_the_true_one_as_often_as_it_weighs() -> None:
    maps = torch.eye(2).repeat(20_000, 1).view(40_000, 2, 1, 1)
    mixed = train_scene_denoiser.doubt(maps, torch.Generator().manual_seed(0), share=1.0)
    torch.testing.assert_close(mixed.sum(1), torch.ones(40_000, 1, 1))
    weight = mixed.flatten(1).amax(1)
    right = mixed.flatten(1).argmax(1) == maps.flatten(1).argmax(1)
    for low in (0.5, 0.7, 0.9):
        bin_ = (weight >= low) & (weight < low + 0.1)
        assert abs(right[bin_].float().mean() - (low + 0.05)) < 0.03


# ---- What ships ----


@pytest.mark.parametrize("task", TASKS)
def test_shipped_denoisers_load_and_tell_a_true_map_from_another(task: Task) -> None:
    denoiser, _ = load_task(task)
    assert (denoiser.condition_channels, denoiser.condition_size) == ({"segmentation": 5, "depth": 1}[task], SIZE)
    views = scenes_of("choose", 16)
    time = torch.full((16,), 300)
    alpha, sigma = (level.float().view(-1, 1, 1, 1) for level in denoiser.schedule.levels(time.numpy()))
    noise = torch.randn(views.images.shape, generator=torch.Generator().manual_seed(0))
    noisy = alpha * (2 * views.images - 1) + sigma * noise
    true = maps_of(task, views)
    with torch.no_grad():
        of_true, of_other = (
            (denoiser.predict(noisy, time, maps) - noise).square().flatten(1).mean(1)
            for maps in (true, true.roll(1, 0))
        )
    assert (of_true < of_other).float().mean() > 0.8


@pytest.mark.parametrize("task", TASKS)
def test_shipped_weights_are_small(task: Task) -> None:
    files = list(MODELS.glob(f"{task}_*/*.safetensors"))
    assert len(files) == 4
    assert max(file.stat().st_size for file in files) < 4_000_000
    for file in files:
        assert {value.dtype for value in load_file(file).values()} == {torch.float16}


class _SameDraws(DiffusionTTA):
    """Every update with the draws of the first, so that their losses can be compared."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        return super().parts(output, context, 0)


@pytest.mark.parametrize("task", TASKS)
def test_shipped_models_adapt_to_a_corrupted_scene_and_their_loss_falls(task: Task) -> None:
    denoiser, predicts = load_task(task)
    model = Predictor.load(MODELS / f"{task}_predictor_0")
    images = adapt_scenes.shifted(scenes_of("choose", 2), "gaussian_noise", 5, seed=0)
    settings = {"task": predicts, "objective": _SameDraws(8, (0.2, 0.6)), "steps": 4, "learning_rate": 1e-3}
    found = TestTimeAdapter(model, denoiser, gate=None, **settings)(images)
    assert found.outputs.shape == (2, len(CLASSES) if task == "segmentation" else 1, SIZE, SIZE)
    assert (found.losses[:, -1] < found.losses[:, 0]).all()
    assert found.adapted.all()


# ---- The study and its card ----


@pytest.mark.parametrize("task", TASKS)
def test_the_study_goes_on_where_it_was_interrupted(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--task", task, "--split", "choose", "--seeds", 2, "--images", 4, "--out", tmp_path / "dense.csv"]
    run(monkeypatch, adapt_scenes, *options, "--corruptions", "fog", "--severities", 0)
    first = read_rows(tmp_path / "dense.csv")
    metrics = list(adapt_scenes.METRICS[task])
    assert [(row["seed"], row["metric"]) for row in first] == [(s, m) for s in ("0", "1", "all") for m in metrics]
    assert {row["corruption"] for row in first} == {"none"}
    assert [row["images"] for row in first[-len(metrics) :]] == ["8"] * len(metrics)
    run(monkeypatch, adapt_scenes, *options, "--corruptions", "fog", "--severities", 0, 3)
    rows = read_rows(tmp_path / "dense.csv")
    assert rows[: len(first)] == first
    assert [row["corruption"] for row in rows[len(first) :]] == ["fog"] * len(first)
    for row in rows:
        assert float(row["low"]) <= float(row["gain"]) <= float(row["high"])


def test_a_gain_is_an_improvement_of_similarity_and_of_error() -> None:
    views = scenes_of("choose", 6)
    source = views.depths + torch.randn(views.depths.shape, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(6)
    found = Adaptation(source, views.depths, *[nothing] * 6)
    similarity, error = adapt_scenes.compare("depth", [(source, found, views)])
    assert (similarity["adapted"], error["adapted"]) == ("1.0000", "0.0000")
    for row in (similarity, error):
        assert 0 < float(row["low"]) < float(row["gain"]) < float(row["high"])
    assert error["gain"] == error["source"]


def test_the_card_shows_percent_of_classes_and_meters_of_depth() -> None:
    row = {"corruption": "shot_noise", "severity": "5", "method": "diffusion", "seed": "all", "source": "0.25"}
    row |= {"adapted": "0.375", "gain": "0.125", "low": "0.1", "high": "0.15"}
    rows = [row | {"task": "segmentation", "metric": "miou"}, row | {"task": "depth", "metric": "rmse"}]
    rows.append(rows[0] | {"seed": "0"})
    (line,) = scenes_card.card_table(rows, "segmentation").splitlines()[2:]
    assert line == "| shot noise | 5 | diffusion | mIoU, % | 25.0 | 37.5 | +12.5 | +10.0 to +15.0 |"
    (line,) = scenes_card.card_table(rows, "depth").splitlines()[2:]
    assert line == "| shot noise | 5 | diffusion | RMSE | 0.250 | 0.375 | +0.125 | +0.100 to +0.150 |"


def test_images_masks_and_depths_are_drawn_side_by_side(tmp_path: Path) -> None:
    views = scenes_of("choose", 2)
    columns = [("image", list(views.images)), ("classes", list(views.masks)), ("depth", list(views.depths))]
    scenes_card.draw(columns, tmp_path / "grid.png")
    assert imread(tmp_path / "grid.png").ndim == 3
