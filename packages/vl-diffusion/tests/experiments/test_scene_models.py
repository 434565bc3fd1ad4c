"""The models of the scenes: training, loading, adaptation from end to end, and the card."""

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
from diffusers import UNet2DModel
from matplotlib.image import imread
from safetensors.torch import load_file
from scene_models import SIZE, TASKS, Task, load_predictor, load_task, maps_of, scenes_of
from scenes import CLASSES, Views
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
def test_a_resumed_training_ends_with_the_same_weights(
    kind: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = SCRIPTS[kind]
    run(monkeypatch, script, "--task", task, "--out", tmp_path / "whole", *TINY)
    draw = script.batch_at

    def interrupt_at_the_last_step(step: int, *rest: object) -> tuple[Tensor, ...]:
        if step == 3:
            raise KeyboardInterrupt
        return draw(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(script, "batch_at", interrupt_at_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            run(patch, script, "--task", task, "--out", tmp_path / "parted", *TINY)
    assert not (tmp_path / "parted/model").exists()
    run(monkeypatch, script, "--task", task, "--out", tmp_path / "parted", *TINY)
    whole, parted = (load_file(tmp_path / name / "checkpoint/last.safetensors") for name in ("whole", "parted"))
    torch.testing.assert_close(parted, whole, rtol=0, atol=0)
    for file in (tmp_path / "whole/model").iterdir():
        assert (tmp_path / "parted/model" / file.name).read_bytes() == file.read_bytes()


def test_weights_of_mixed_maps_are_calibrated_probabilities() -> None:
    maps = torch.eye(2).repeat(20_000, 1).view(40_000, 2, 1, 1)
    mixed = train_scene_denoiser.doubt(maps, torch.Generator().manual_seed(0), share=1.0)
    torch.testing.assert_close(mixed.sum(1), torch.ones(40_000, 1, 1))
    weight = mixed.flatten(1).amax(1)
    right = mixed.flatten(1).argmax(1) == maps.flatten(1).argmax(1)
    for low in (0.5, 0.7, 0.9):
        bin_ = (weight >= low) & (weight < low + 0.1)
        assert abs(right[bin_].float().mean() - (low + 0.05)) < 0.03


# ---- Trained models ----


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of training runs: for each task a denoiser and two predictors after four steps."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for task in TASKS:
            run(monkeypatch, train_scene_denoiser, "--task", task, "--out", folder / f"{task}_denoiser", *TINY)
            for seed in (0, 1):
                options = ["--task", task, "--seed", seed, "--out", folder / f"{task}_predictor_{seed}"]
                run(monkeypatch, train_scene_predictor, *options, *TINY)
    return folder


def narrow_denoiser(task: Task, folder: Path, views: Views) -> None:
    """Save a small U-Net that learned, at one noise level, to denoise these scenes given their maps."""
    maps, images = maps_of(task, views), 2 * views.images - 1
    scheduler = train_scene_denoiser.build_scheduler()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = UNet2DModel(
            sample_size=SIZE,
            in_channels=3 + maps.shape[1],
            out_channels=3,
            block_out_channels=(16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            add_attention=False,
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.99))
    time = torch.full((len(views),), 300)
    for step in range(60):
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(step + 1))
        noisy = scheduler.add_noise(images, noise, time)
        loss = (model(torch.cat([noisy, maps], 1), time).sample - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.half().save_pretrained(folder)
    scheduler.save_pretrained(folder)


@pytest.mark.parametrize("task", TASKS)
def test_a_trained_denoiser_loads_and_distinguishes_true_maps_from_others(task: Task, tmp_path: Path) -> None:
    views = scenes_of("choose", 8)
    narrow_denoiser(task, tmp_path / f"{task}_denoiser/model", views)
    denoiser, _ = load_task(task, tmp_path)
    assert (denoiser.condition_channels, denoiser.condition_size) == ({"segmentation": 5, "depth": 1}[task], SIZE)
    time = torch.full((8,), 300)
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
def test_trained_weights_are_small(task: Task, models: Path) -> None:
    files = list(models.glob(f"{task}_*/model/*.safetensors"))
    assert len(files) == 3
    assert max(file.stat().st_size for file in files) < 4_000_000
    for file in files:
        assert {value.dtype for value in load_file(file).values()} == {torch.float16}


def test_missing_models_are_refused_with_the_command_that_trains_them(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"depth_denoiser/model.*\n.*train_scene_denoiser.py --task depth --out "):
        load_task("depth", tmp_path)
    with pytest.raises(SystemExit, match=r"train_scene_predictor.py --task depth --seed 1 --out .*depth_predictor_1"):
        load_predictor("depth", 1, tmp_path)


class _SameDraws(DiffusionTTA):
    """Every update with the draws of the first, so that their losses can be compared."""

    def parts(self, output: Tensor, context: Context, update: int) -> Iterator[Tensor]:
        return super().parts(output, context, 0)


@pytest.mark.parametrize("task", TASKS)
def test_trained_models_adapt_to_a_corrupted_scene_and_their_loss_falls(task: Task, models: Path) -> None:
    denoiser, predicts = load_task(task, models)
    model = load_predictor(task, 0, models)
    images = adapt_scenes.shifted(scenes_of("choose", 2), "gaussian_noise", 5, seed=0)
    settings = {"task": predicts, "objective": _SameDraws(8, (0.2, 0.6)), "steps": 4, "learning_rate": 1e-3}
    found = TestTimeAdapter(model, denoiser, gate=None, **settings)(images)
    assert found.outputs.shape == (2, len(CLASSES) if task == "segmentation" else 1, SIZE, SIZE)
    assert (found.losses[:, -1] < found.losses[:, 0]).all()
    assert found.adapted.all()


# ---- The study and its card ----


@pytest.mark.parametrize("task", TASKS)
def test_the_study_resumes_without_computing_cells_again(
    task: Task, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--task", task, "--split", "choose", "--seeds", 2, "--images", 4, "--out", tmp_path / "dense.csv"]
    options += ["--models", models]
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


def test_images_masks_and_depths_are_drawn_in_one_grid(tmp_path: Path) -> None:
    views = scenes_of("choose", 2)
    columns = [("image", list(views.images)), ("classes", list(views.masks)), ("depth", list(views.depths))]
    scenes_card.draw(columns, tmp_path / "grid.png")
    assert imread(tmp_path / "grid.png").ndim == 3
