"""The comparison trains missing runs, records results, and uses the same labels for every method."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from vl_attention.comparison.compare import COLUMNS, compare
from vl_attention.comparison.methods import Method
from vl_attention.comparison.peak_memory import peak_memory
from vl_attention.comparison.subsets import stratified_indices
from vl_attention.models.normalization import Normalization
from vl_core.data import ImageDataset

SPEC = importlib.util.spec_from_file_location("small_training", Path(__file__).parent / "small_training.py")
small_training = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(small_training)
SETTINGS = replace(small_training.SETTINGS, epochs=6, random_augment="", erasing=0.0)
NAMES = ("scratch", "copy", "distill", "fine-tune")


@pytest.fixture(scope="module")
def dataset():
    colors = small_training.Colors()
    images = [colors[i][0] for i in range(40)]
    names = [f"{i}.png" for i in range(40)]
    return ImageDataset(images, [i % 2 for i in range(40)], name="colors", names=names, classes=("red", "blue"))


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **small_training.SIZE)


def run(teacher, dataset, out, names=NAMES, seeds=(0, 1)):
    methods = [Method(name, SETTINGS, "all") for name in names]
    return compare(teacher, dataset, dataset, methods, out, labels=16, seeds=seeds, size=(16, 16), progress=False)


def test_every_method_and_seed_has_a_row_and_its_answers(teacher, dataset, tmp_path):
    rows = run(teacher, dataset, tmp_path)
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["method"], row["seed"]) for row in rows] == [
        (name, seed) for seed in "01" for name in (*NAMES, "ensemble")
    ]
    assert all(float(row["accuracy"]) == 1 for row in rows)
    trained = [row for row in rows if row["method"] != "ensemble"]
    assert all(float(row["peak_mb"]) > 10 and float(row["seconds"]) > 0 and row["epochs"] == "6" for row in trained)
    answers = load_file(tmp_path / "runs" / "copy-1" / "predictions.safetensors")
    assert answers["logits"].shape == (40, 2)
    assert answers["labels"].tolist() == [i % 2 for i in range(40)]


def test_finished_runs_are_not_trained_again(teacher, dataset, tmp_path):
    first = run(teacher, dataset, tmp_path, ("scratch",), (0,))
    before = (tmp_path / "runs" / "scratch-0" / "predictions.safetensors").stat().st_mtime_ns
    rows = run(teacher, dataset, tmp_path, ("scratch", "distill"), (0,))
    assert rows[: len(first)] == first
    assert [row["method"] for row in rows] == ["scratch", "distill"]
    assert (tmp_path / "runs" / "scratch-0" / "predictions.safetensors").stat().st_mtime_ns == before


def test_a_record_of_other_labels_or_epochs_is_refused(teacher, dataset, tmp_path):
    run(teacher, dataset, tmp_path, ("scratch",), (0,))
    method = Method("scratch", SETTINGS, "all")
    for methods, labels in (([method], 8), ([replace(method, settings=replace(SETTINGS, epochs=7))], 16)):
        with pytest.raises(ValueError, match=r"for 16 labels and 6 epochs, expected .*; choose another folder"):
            compare(teacher, dataset, dataset, methods, tmp_path, labels=labels, seeds=[0], size=(16, 16))


def test_fine_tuning_starts_from_the_teachers_weights_and_scratch_from_none(teacher):
    normalization = Normalization.none()
    tuned = Method("fine-tune", SETTINGS).build(teacher, 2, 0, normalization).student
    scratch = Method("scratch", SETTINGS).build(teacher, 2, 0, normalization).student
    distilled = Method("distill", SETTINGS).build(teacher, 2, 0, normalization).student
    name = "blocks.0.attn.qkv.weight"
    wanted = teacher.state_dict()[name]
    assert torch.equal(tuned.state_dict()[name], wanted)
    assert not torch.equal(scratch.state_dict()[name], wanted)
    assert torch.equal(scratch.state_dict()[name], distilled.state_dict()[name])
    assert torch.equal(tuned.state_dict()["head.weight"], scratch.state_dict()["head.weight"])
    tuned.blocks[0].attn.qkv.weight.data.zero_()
    assert torch.equal(teacher.state_dict()[name], wanted)


def test_each_class_has_as_many_labels_and_the_seed_draws_them():
    labels = [i % 5 for i in range(100)]
    chosen = stratified_indices(labels, 20, seed=3)
    assert Counter(labels[i] for i in chosen) == dict.fromkeys(range(5), 4)
    assert chosen == sorted(set(chosen)) == stratified_indices(labels, 20, seed=3)
    assert chosen != stratified_indices(labels, 20, seed=4)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (3, r"labels must be a positive multiple of the number of classes, 2; got 3; take 2"),
        (0, r"labels must be a positive multiple .* take 2"),
        (12, r"labels=12 needs 6 images per class, and class 1 has 4; take 8 at most"),
    ],
)
def test_labels_that_cannot_be_drawn_are_refused(count, message):
    with pytest.raises(ValueError, match=message):
        stratified_indices([0] * 9 + [1] * 4, count, seed=0)


def test_labels_without_any_label_are_refused():
    with pytest.raises(ValueError, match="labels=2 needs labeled images"):
        stratified_indices([-1, -1], 2, seed=0)


def test_the_peak_is_that_of_the_work_within():
    with peak_memory() as small:
        pass
    with peak_memory() as large:
        torch.ones(50_000_000)
    assert 150 < large.megabytes - small.megabytes < 260


@pytest.mark.parametrize("damage", ["text", "labels", "shape"])
def test_predictions_that_cannot_be_read_are_named(tmp_path, damage):
    from safetensors.torch import save_file
    from vl_attention.comparison.compare import read_predictions

    path = tmp_path / "runs/ours-0/predictions.safetensors"
    path.parent.mkdir(parents=True)
    if damage == "text":
        path.write_text("no tensors")
    else:
        labels = {"labels": torch.zeros(2, dtype=torch.int64)} if damage == "shape" else {}
        save_file({"logits": torch.zeros(3, 2), **labels}, path)
    with pytest.raises(ValueError, match=r"predictions\.safetensors (is not a whole|must hold logits)"):
        read_predictions(tmp_path, "ours", 0)
