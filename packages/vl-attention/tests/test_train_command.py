"""`vl-attention train` and `pretrain`: from images to a table, charts and models that load again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from vl_attention import Normalization, cli
from vl_attention.classifiers.saved_models import load_classifier, load_model, save_model
from vl_attention.commands.pretrain import run as pretrain
from vl_attention.commands.settings.pretrain import Pretrain
from vl_attention.commands.settings.train import Train
from vl_attention.commands.train import run as train
from vl_attention.comparison.methods import METHODS, RECIPES, method_of
from vl_attention.training.recipes import small_images_pretrain
from vl_core.data import open_dataset

SIZE = {"img_size": 16, "patch_size": 8, "in_chans": 1, "embed_dim": 16, "depth": 2, "num_heads": 2}
TINY = {"image_size": 16, "patch": 8, "width": 16, "depth": 2, "heads": 2, "decoder_width": 16, "decoder_heads": 2}
QUICK = replace(small_images_pretrain(), epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def images_folder(tmp_path_factory):
    """Forty noisy images, dark or bright; every fifth is a test image."""
    path = tmp_path_factory.mktemp("images") / "shades.npz"
    noise = np.random.default_rng(0).integers(0, 120, (40, 16, 16), np.uint8)
    labels = np.arange(40) % 2
    split = np.where(np.arange(40) % 5 < 4, "train", "test")
    np.savez(path, x=noise + (130 * labels[:, None, None]).astype(np.uint8), y=labels, classes=["dark", "bright"],
             split=split)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, class_token=False, global_pool="avg", **SIZE)
    save_model(model, folder, normalization=Normalization((0.5,), (0.5,)))
    return folder


def command_settings(images_folder, teacher, out, **options):
    given = {"labels": 8, "epochs": 4, "batch_size": 4, "precision": "float32", **options}
    return Train(images=str(images_folder), teacher=str(teacher), out=out, **given)


@pytest.fixture(scope="module")
def trained(images_folder, teacher, tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "out"
    train(command_settings(images_folder, teacher, out))
    return out


def rows_of(out):
    with (out / "transfer.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_writes_a_row_a_method_and_images(trained):
    rows = rows_of(trained)
    assert list(rows[0]) == ["method", "seed", "labels", "epochs", "accuracy", "seconds", "peak_mb"]
    assert [row["method"] for row in rows] == ["scratch", "copy", "distill", "fine-tune", "ensemble"]
    assert {row["labels"] for row in rows} == {"8"}
    for name in ("transfer.png", "maps.png", "similarity.png"):
        with Image.open(trained / name) as image:
            assert min(image.size) > 200
    assert (trained / "similarity.csv").read_text().startswith("first,second,first_layer,second_layer,head,divergence")


def test_trained_models_answer_as_they_did(trained, teacher):
    from safetensors.torch import load_file

    images = torch.rand(3, 1, 16, 16)
    assert load_file(trained / "runs" / "copy-0" / "predictions.safetensors")["logits"].shape == (8, 2)
    student = load_classifier(trained / "runs" / "copy-0" / "model", teacher=load_model(teacher))
    assert student(images).logits.shape == (3, 2)
    plain = timm.create_model(f"local-dir:{trained / 'runs' / 'distill-0' / 'model'}", pretrained=True).eval()
    assert plain.pretrained_cfg["label_names"] == ["dark", "bright"]
    assert torch.equal(load_classifier(trained / "runs" / "distill-0" / "model")(images).logits,
                       plain((images - 0.5) / 0.5))  # fmt: skip


def test_rerunning_trains_nothing_again_and_seeds_can_be_added(trained, images_folder, teacher, capsys):
    before = rows_of(trained)
    train(command_settings(images_folder, teacher, trained, seeds=(0, 1), methods=("scratch",)))
    assert rows_of(trained)[: len(before)] == before
    assert [(row["method"], row["seed"]) for row in rows_of(trained)[len(before) :]] == [("scratch", "1")]
    assert "wrote transfer.csv" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [{"labels": 4}, {"epochs": 2}, {"recipe": "vit_base", "methods": ("distill",)}])
def test_another_comparison_needs_another_folder(trained, images_folder, teacher, changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        train(command_settings(images_folder, teacher, trained, **changed))


def test_another_teacher_needs_another_folder(trained, images_folder, teacher, tmp_path):
    other = load_model(teacher)
    with torch.no_grad():
        other.patch_embed.proj.bias += 1
    save_model(other, tmp_path / "other")
    with pytest.raises(ValueError, match="teacher"):
        train(command_settings(images_folder, tmp_path / "other", trained))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 1}, "--labels must be at least 2, one per class, or 0"),
        ({"labels": -8}, "--labels must be at least 0, got -8"),
        (
            {"labels": 400},
            r"needs 200 images of each class, and 'dark' has 16 .* --labels 32 is the maximum, .* 0 takes",
        ),
        ({"methods": ("scratch", "magic")}, "--methods must be among scratch, .*, got 'magic'"),
        ({"methods": ()}, "must each name at least one"),
        ({"layers": "first:9"}, r"from 1 to 2|9"),
        ({"layers": "0,7"}, "7"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"recipe": "vit_large"}, r"min_learning_rate must be at most the peak rate, .* 0\.002 and 0\.001 \* 4 / 256"),
        ({"min_learning_rate": 1.0}, r"min_learning_rate must be at most the peak rate"),
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"layers": "0-1"}, r"--layers must be all, first:K .* got '0-1'"),
        ({"layers": "0,"}, "--layers must be"),
        ({"map_layer": 99}, "--map-layer must be from -2 to 1, got 99"),
        ({"workers": -1}, "--workers must be at least 0"),
        ({"base_learning_rate": -1.0}, "--base-learning-rate must be above 0"),
        ({"base_learning_rate": float("nan")}, "--base-learning-rate must be above 0"),
        ({"min_learning_rate": -1.0}, "--min-learning-rate must be at least 0"),
        ({"transfer_weight": -1.0}, "--transfer-weight must be at least 0"),
        ({"batch_size": 33, "accumulation": 2}, "--batch-size must be a multiple of --accumulation, 2; got 33"),
        (
            {"batch_size": 6, "accumulation": 2, "recipe": "vit_base", "methods": ("distill",)},
            "of twice --accumulation, 4, since images are mixed",
        ),
        ({"test_images": "fashion"}, "must have the same classes"),
    ],
)
def test_invalid_arguments_are_refused_before_writing(images_folder, teacher, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(command_settings(images_folder, teacher, tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_a_layer_list_may_have_blanks_and_labels_lose_their_remainder(
    trained, images_folder, teacher, tmp_path, capsys
):
    given = command_settings(
        images_folder, teacher, tmp_path / "out", labels=9, methods=("distill",), layers=" 0, 1 ", epochs=1
    )
    train(given)
    found = capsys.readouterr()
    assert "--labels 9 is not a multiple of 2 classes; 8 are kept" in found.err
    assert "converted to" not in found.err
    assert rows_of(tmp_path / "out")[0]["labels"] == "8"
    train(replace(given, labels=8, layers="0,1"))  # which is the same
    with pytest.raises(ValueError, match="transfer_weight"):
        train(replace(given, transfer_weight=1.0))


def test_numbers_of_training_are_taken(images_folder, teacher):
    (method,) = Train(methods=("distill",), transfer_weight=7.0, min_learning_rate=1e-3).chosen_methods()
    assert (method.settings.transfer_weight, method.settings.min_learning_rate) == (7.0, 1e-3)


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_images_need_another_folder(trained, images_folder, teacher, tmp_path, split):
    shutil.copytree(trained, tmp_path / "out")
    with np.load(images_folder) as file:
        arrays = dict(file)
    held = int((arrays["split"] == split).sum())
    gone = int(np.flatnonzero(arrays["split"] == split)[0])
    for name in ("x", "y", "split"):
        arrays[name] = np.delete(arrays[name], gone, axis=0)
    before = images_folder.read_bytes()
    np.savez(images_folder, **arrays)
    try:
        with pytest.raises(ValueError, match=rf"another configuration: .*images\.images \('{held}' in the folder"):
            train(command_settings(images_folder, teacher, tmp_path / "out"))
    finally:
        images_folder.write_bytes(before)


def test_the_same_places_are_the_same_however_they_are_written(trained, images_folder, teacher, monkeypatch):
    before = rows_of(trained)
    monkeypatch.chdir(images_folder.parent)
    train(command_settings(f"./{images_folder.name}", f"{teacher}/", trained))
    assert rows_of(trained) == before


def save_folder(folder, classes=("bright", "dark"), count=6, side=20):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng(index).integers(0, 120, (side, side + 4, 3), np.uint8) + 130 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def test_plain_folders_of_classes_are_used_whole(teacher, tmp_path, capsys):
    own, tests = save_folder(tmp_path / "own"), save_folder(tmp_path / "tests", count=3)
    given = command_settings(
        own, teacher, tmp_path / "out", test_images=str(tests), labels=0, epochs=1, methods=("scratch",)
    )
    train(given)
    assert rows_of(tmp_path / "out")[0]["labels"] == "12"
    assert "converted to 16x16 pixels in gray for the teacher; the first has 24x20 pixels in color" in (
        capsys.readouterr().err
    )
    with pytest.raises(
        ValueError, match=r"own is not divided .* into train/ and test/, or pass test images with --test-images"
    ):
        train(replace(given, test_images=None, out=tmp_path / "other"))
    with pytest.raises(ValueError, match="--test-images must differ from the training images"):
        train(replace(given, test_images=f"{own}/", out=tmp_path / "other"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        train(replace(given, images=str(tmp_path / "empty"), test_images=None, out=tmp_path / "other"))
    with pytest.raises(ValueError, match="empty holds no images"):
        train(replace(given, test_images=str(tmp_path / "empty"), out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_single_class_is_refused(teacher, tmp_path):
    own, tests = (save_folder(tmp_path / name, classes=("bright",)) for name in ("own", "tests"))
    with pytest.raises(ValueError, match="the same classes, at least two"):
        train(command_settings(own, teacher, tmp_path / "out", test_images=str(tests), labels=0))
    assert not (tmp_path / "out").exists()


def test_the_table_is_printed_before_anything_is_drawn(trained, images_folder, teacher, monkeypatch, capsys):
    def broken(*given, **named):
        raise ValueError("no ink")

    monkeypatch.setattr("vl_attention.commands.train.draw_transfer", broken)
    with pytest.raises(ValueError, match="no ink"):
        train(command_settings(images_folder, teacher, trained))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {row[0] for row in rows[2:]} >= {"scratch", "ensemble"}
    # The ensemble has neither seconds nor memory of its own.
    ensemble = next(row for row in rows if row[0] == "ensemble")
    assert ensemble[-1] == "%" or ensemble[-1].endswith(")")


@pytest.mark.slow
def test_two_processes_write_one_table(images_folder, teacher, tmp_path):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
    options = ["--labels", "8", "--epochs", "2", "--batch-size", "4", "--methods", "fine-tune", "distill"]
    done = subprocess.run(
        [
            *launch,
            "--module",
            "vl_attention",
            "train",
            images_folder,
            "--teacher",
            teacher,
            "--out",
            tmp_path,
            *options,
        ],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [row["method"] for row in rows_of(tmp_path)] == ["fine-tune", "distill", "ensemble"]
    assert done.stdout.count("wrote transfer.csv") == 1


def test_a_missing_teacher_ends_in_one_line(images_folder, tmp_path, capsys):
    assert cli.main(["train", str(images_folder), "--teacher", "nowhere", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vl-attention: error: no model 'nowhere'")
    assert error.count("\n") == 1


def test_all_labels_are_used_with_labels_zero(images_folder, teacher, tmp_path):
    train(command_settings(images_folder, teacher, tmp_path, labels=0, epochs=1, methods=("scratch",)))
    assert rows_of(tmp_path)[0]["labels"] == "32"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", METHODS)
def test_every_recipe_has_every_method(recipe, name):
    method = method_of(recipe, name, epochs=30, warmup_epochs=3)
    assert method.name == name
    assert method.settings.epochs == 30
    assert method.settings.transfer_weight is None  # so that it is the mode's own


def test_pretraining_gives_a_teacher_that_training_takes(images_folder, tmp_path):
    settings = Pretrain(images=str(images_folder), train=QUICK, out=tmp_path, **TINY)
    pretrain(settings)
    first = load_model(tmp_path / "model")
    pretrain(settings)  # which is finished
    second = load_model(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architecture"] == "vit_tiny_patch16_224"
    with Image.open(tmp_path / "reconstructions.png") as image:
        assert min(image.size) > 200
    train(command_settings(images_folder, tmp_path / "model", tmp_path / "out", epochs=1, methods=("distill",)))
    assert len(rows_of(tmp_path / "out")) == 1


@pytest.fixture(scope="module")
def pretrained(images_folder, tmp_path_factory):
    settings = Pretrain(images=str(images_folder), train=QUICK, out=tmp_path_factory.mktemp("pretrain") / "out", **TINY)
    pretrain(settings)
    return settings


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"heads": 4}, r"heads \(2 in the folder, now 4\)"),
        ({"width": 32}, "width"),
        ({"seed": 1}, "seed"),
        ({"mask_ratio": 0.5}, "mask_ratio"),
        ({"split": "test"}, r"images\.images \('32' in the folder, now '8'\)"),
        ({"train": replace(QUICK, flip=False)}, r"train\.flip"),
    ],
)
def test_another_teacher_does_not_go_into_the_folder_of_one(pretrained, change, field):
    before = (pretrained.out / "model" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=f"holds a run with another configuration: {field}"):
        pretrain(replace(pretrained, **change))
    assert (pretrained.out / "model" / "config.json").read_bytes() == before


def test_reconstructions_are_of_all_classes(pretrained, monkeypatch):
    shown = []
    monkeypatch.setattr("vl_attention.commands.pretrain.draw_reconstructions", lambda *given: shown.append(given[1]))
    found = open_dataset(pretrained.images, split="train")
    by_class = found.subset(np.argsort(found.labels, kind="stable"))
    monkeypatch.setattr("vl_attention.commands.pretrain.open_images", lambda *given, **named: by_class)
    pretrain(replace(pretrained, out=pretrained.out.parent / "sorted"))
    bright = shown[0].mean((1, 2, 3)) > 0.5
    assert (len(bright), int(bright.sum())) == (8, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train": replace(QUICK, base_learning_rate=0.0, min_learning_rate=0.0)},
            "--train.base-learning-rate must be above 0",
        ),
        ({"train": replace(QUICK, workers=-1)}, "--train.workers must be at least 0"),
        ({"train": replace(QUICK, batch_size=9, accumulation=2)}, "--train.batch-size must be a multiple of"),
        ({"image_size": 15}, "--image-size must be a multiple of --patch, got 15 and 8"),
        ({"width": 15}, "--width must be a multiple of --heads"),
        ({"depth": 0}, "--depth must be at least 1"),
        ({"channels": 2}, r"--channels must be 1 \(grayscale\) or 3"),
        ({"mask_ratio": 1.0}, "--mask-ratio must be above 0 and below 1"),
        ({"decoder_heads": 3}, "--decoder-width must be a multiple of --decoder-heads"),
    ],
)
def test_a_teacher_that_cannot_be_built_is_refused(images_folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        pretrain(Pretrain(images=str(images_folder), out=tmp_path / "out", **{"train": QUICK, **TINY, **options}))
    assert not (tmp_path / "out").exists()
