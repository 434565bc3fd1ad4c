"""The scripts of the Caltech-101 study, on a few synthetic photographs in the file's layout."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import caltech_card
import caltech_images
import numpy as np
import pytest
import torch
import train_caltech_cnn
import train_caltech_dit
from caltech_images import Images
from diffusers import DDPMScheduler, DiTTransformer2DModel
from PIL import Image
from vl_core.results import read_rows
from vl_core.runs import Checkpoint, RunFolder
from vl_diffusion import DiffusionClassifier, Staged

SHARED = Path(__file__).resolve().parents[5] / "shared/data"
NAMES = [f"Class_{index}" for index in range(12)]
# Class 3 is one of the two smallest, class 11 the other: ten are left.
SIZES = [9, 9, 9, 3, 12, 9, 9, 9, 15, 9, 9, 3]
LARGEST = [8, 4, 0, 1, 2, 5, 6, 7, 9, 10]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files end to end, each of one gray of its class and noise; every third image of a class is a test one."""
    random, files, label, split = np.random.default_rng(0), [], [], []
    for one, size in enumerate(SIZES):
        for index in range(size):
            pixels = 20 * one + random.integers(0, 20, (64, 64, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(file := io.BytesIO(), "JPEG")
            files.append(np.frombuffer(file.getvalue(), np.uint8))
            label.append(one)
            split.append(index % 3 == 2)
    path = tmp_path_factory.mktemp("caltech") / "caltech101_64.npz"
    offsets = np.cumsum([0, *map(len, files)])
    columns = {"label": np.array(label, np.uint8), "split": np.array(split, np.uint8), "classes": np.array(NAMES)}
    np.savez(path, jpeg=np.concatenate(files), offsets=offsets, **columns)
    return path


def checkpoint(out: Path) -> Checkpoint:
    """The last checkpoint of a run."""
    found = RunFolder(out, json.loads((out / "config.json").read_text())).load_checkpoint()
    assert found is not None
    return found


def run(monkeypatch: pytest.MonkeyPatch, script: object, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
    script.main()


def train_dit(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path) -> None:
    settings = ["--steps", 4, "--batch", 4, "--warm-up", 2, "--checkpoint-every", 2]
    run(monkeypatch, train_caltech_dit, "--data", data, "--out", out, *settings)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four steps of the diffusion model without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        train_dit(monkeypatch, data, out)
    return out


# ---- Images ----


def test_the_ten_classes_with_the_most_images_are_read_in_that_order(data: Path) -> None:
    train, test = (caltech_images.read_images(data, split) for split in ("train", "test"))
    assert train.classes == test.classes == tuple(f"class {one}" for one in LARGEST)
    assert train.labels.bincount().tolist() == [SIZES[one] // 3 * 2 for one in LARGEST]
    assert test.labels.bincount().tolist() == [SIZES[one] // 3 for one in LARGEST]
    assert train.images.shape == (len(train), 3, 64, 64)
    assert train.images.dtype == torch.uint8
    for image, label in zip(test.images, test.labels, strict=True):
        assert abs(image.float().mean() - (20 * LARGEST[int(label)] + 9.5)) < 2


def test_a_fifth_of_each_class_is_held_out() -> None:
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1)
    kept, aside = caltech_images.put_aside(Images(images, torch.arange(20) % 2, ("a", "b")))
    assert aside.labels.bincount().tolist() == [2, 2]
    assert sorted([*kept.images.flatten().tolist(), *aside.images.flatten().tolist()]) == list(range(20))


def test_balance_shows_small_classes_more_often() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    for balance, share in ((0.0, 0.1), (0.5, 0.25), (1.0, 0.5)):
        generator = torch.Generator().manual_seed(0)
        drawn = labels[caltech_images.draw_indices(labels, 4000, balance=balance, generator=generator)]
        assert abs(drawn.float().mean() - share) < 0.03


def test_augmented_images_stay_in_range_and_keep_their_middle() -> None:
    images = torch.full((64, 3, 64, 64), -1.0)
    images[:, :, 24:40, 24:40] = 1
    moved = caltech_images.augment(images, generator=torch.Generator().manual_seed(0))
    assert moved.min() >= -1
    assert moved.max() <= 1
    assert (moved[:, :, 31:33, 31:33] > 0.5).all()
    assert (moved[:, :, :8] < -0.5).all()
    assert len(moved.flatten(1).unique(dim=0)) == 64


def test_augmentation_mirrors_half_of_the_images() -> None:
    ramp = torch.linspace(-0.8, 0.8, 64).expand(400, 3, 64, 64)
    moved = caltech_images.augment(ramp, generator=torch.Generator().manual_seed(0))
    assert 160 < (moved[:, 0, 32, 48] < moved[:, 0, 32, 16]).sum() < 240


def test_the_card_agrees_with_the_photographs() -> None:
    path = SHARED / "caltech101_64/caltech101_64.npz"
    if not path.exists():
        pytest.skip(f"needs data that is not committed but lies beside the repository: {path}")
    train, test = (caltech_images.read_images(path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1809, 899)
    *first, last = train.classes
    card = (caltech_card.RESULTS / "caltech/README.md").read_text(encoding="utf-8")
    assert f"{', '.join(first)} and {last}" in " ".join(card.split())


# ---- The diffusion model ----


def test_a_resumed_run_ends_with_the_same_weights(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = train_caltech_dit.batch_at

    def interrupt_at_the_last_step(step, *rest):
        if step == 3:
            raise KeyboardInterrupt
        return draw(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train_caltech_dit, "batch_at", interrupt_at_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            train_dit(patch, data, tmp_path)
    assert checkpoint(tmp_path).step == 2
    assert not (tmp_path / "model").exists()

    train_dit(monkeypatch, data, tmp_path)
    expected, resumed = (checkpoint(out).tensors for out in (whole, tmp_path))
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)
    for file in (whole / "model").iterdir():
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes()


def test_exported_folder_is_the_average_in_half_precision_for_the_classifier_to_load(whole: Path) -> None:
    model = DiTTransformer2DModel.from_pretrained(whole / "model")
    average = checkpoint(whole).tensors
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.half(), average[f"ema.{name}"].half(), rtol=0, atol=0)
    assert DDPMScheduler.from_pretrained(whole / "model").config.prediction_type == "v_prediction"
    classifier = DiffusionClassifier.from_pretrained(whole / "model", search=Staged((1, 2), (2, 1)))
    assert classifier.classes == tuple(f"class {one}" for one in LARGEST)
    assert classifier.classify(torch.zeros(1, 3, 64, 64)).errors.shape == (1, 10)


def test_each_batch_depends_on_the_seed_and_the_step_alone(data: Path) -> None:
    images = caltech_images.read_images(data, "train")
    args = train_caltech_dit.argparse.Namespace(seed=0, batch=8, balance=0.5, null_share=0.5)
    first, again, later = (train_caltech_dit.batch_at(step, 8, images, args) for step in (5, 5, 6))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first[3], later[3])
    # What is shown without its class must not change the labels of the data.
    torch.testing.assert_close(images.labels, caltech_images.read_images(data, "train").labels)


# ---- What is measured ----


def test_evaluation_classifies_each_image_once_and_resumes(data: Path, whole: Path, tmp_path: Path) -> None:
    images = caltech_images.read_images(data, "test")
    classifier = DiffusionClassifier.from_pretrained(whole / "model", search=Staged((1, 2), (2, 1)))
    named = caltech_card.name_all(classifier, images, tmp_path / "whole.csv")
    assert [row["true"] for row in named] == [images.classes[label] for label in images.labels]
    assert {row["evaluations"] for row in named} == {"12"}
    lines = (tmp_path / "whole.csv").read_text().splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(lines[:8]))
    assert caltech_card.name_all(classifier, images, tmp_path / "cut.csv") == named
    assert (tmp_path / "cut.csv").read_text() == "".join(lines)


def test_all_classifiers_append_to_one_file(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, model = tmp_path / "caltech.csv", whole / "model"
    run(monkeypatch, train_caltech_cnn, "--data", data, "--out", out, "--steps", 2, "--batch", 4, "--width", 2)
    search = ["--draws", 1, 2, "--keep", 2, 1]
    run(monkeypatch, caltech_card, "--data", data, "--out", out, "--model", model, "--named", tmp_path / "n", *search)
    cnn, dit = read_rows(out)
    assert (cnn["model"], cnn["evaluations_per_image"]) == ("CNN cnn6-2", "1")
    assert (dit["images"], dit["classes"], dit["evaluations_per_image"]) == (cnn["images"], cnn["classes"], "12")
    assert int(dit["parameters"]) == sum(p.numel() for p in train_caltech_dit.build_model().parameters())


def test_settings_are_chosen_without_the_test_images(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "caltech.csv"
    run(monkeypatch, train_caltech_cnn, "--data", data, "--out", out, "--steps", 1, "--width", 2, "--validate")
    aside = caltech_images.put_aside(caltech_images.read_images(data, "train"))[1]
    assert f"images={len(aside)} " in capsys.readouterr().out
    assert not out.exists()


def test_a_missing_model_is_refused_with_the_command_that_trains_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, caltech_card, "--model", tmp_path / "none")
    assert f"found none at {tmp_path / 'none'}" in (error := capsys.readouterr().err)
    assert "train_caltech_dit.py --compile" in error
