"""A model on all factors of scenes: one that knows the scene, one that knows colors alone, a constant one."""

import csv

import numpy as np
import pytest
from vl_vlm import SceneReport, compare, evaluate_scenes, is_true, scene_tasks
from vl_vlm.evaluation.tasks.scenes import CLASSES, TASKS
from vl_vlm.scenes.edits import NEGATIVES
from vl_vlm.scenes.vocabulary import COLORS


def drawn(task):
    """Every image of a task with its scene."""
    for images, scenes in zip(task.images, task.images.scenes, strict=True):
        both = isinstance(images, tuple)
        yield from zip(images, scenes, strict=True) if both else [(images, scenes)]


def scenes_by_pixels(**settings):
    """The scene of each image of all tasks."""
    return {image.tobytes(): scene for task in scene_tasks(**settings).values() for image, scene in drawn(task)}


def knows(scenes):
    def score(images, texts):
        return [[float(is_true(text, scenes[image.tobytes()])) for text in texts] for image in images]

    return score


def knows_colors(scenes):
    def score(images, texts):
        found = [{item.color for item in scenes[image.tobytes()].objects} for image in images]
        named = [{word for word in text.split() if word in COLORS} for text in texts]
        return [[-float(len(colors ^ words)) for words in named] for colors in found]

    return score


@pytest.mark.parametrize("split", ["test", "held_out"])
def test_a_model_that_knows_the_scene_has_all_and_a_constant_one_has_chance(split):
    settings = {"count": 24, "seed": 3, "split": split}
    report = evaluate_scenes(knows(scenes_by_pixels(**settings)), samples=20, **settings)
    assert list(report.results) == list(TASKS)
    for task in (*CLASSES, *NEGATIVES):
        result = report.results[task]
        assert result.row("group score" if task in NEGATIVES else "top-1 accuracy").value == 1
    for name in ("image-to-text recall@1", "text-to-image recall@1"):
        assert report.results["retrieval"].row(name).value == 1
    chance = {task: report.results[task].row("top-1 accuracy", "constant").value for task in CLASSES}
    assert chance == pytest.approx({"color": 1 / 9, "shape": 1 / 9, "color and shape": 1 / 81})
    assert report.results["swap_color"].row("group score", "constant").value == pytest.approx(1 / 6)


def test_colors_alone_are_told_from_what_has_them(tmp_path):
    """Exact values: a color fixes one of 9 shapes, and captions that differ in another factor tie."""
    scenes = scenes_by_pixels(count=30)
    report = evaluate_scenes(knows_colors(scenes), 30, out=tmp_path / "scores", samples=20)
    value = {task: report.results[task].row("top-1 accuracy").value for task in CLASSES}
    assert value == pytest.approx({"color": 1, "shape": 1 / 9, "color and shape": 1 / 9})
    for task in NEGATIVES:
        expected = (1, 1, 1) if task == "replace_color" else (1 / 4, 1 / 4, 1 / 6)
        rows = [report.results[task].row(f"{name} score").value for name in ("text", "image", "group")]
        assert rows == pytest.approx(expected), task

    asked = []
    again = evaluate_scenes(lambda i, t: asked.append(i), 30, out=tmp_path / "scores", samples=20)
    assert not asked  # every score is stored
    assert str(again) == str(report)
    (row,) = compare(report.results["color"], again.results["color"])[:1]
    assert row.difference == 0


def test_table_and_file_have_the_baselines_beside_the_model(tmp_path):
    report = evaluate_scenes(lambda i, t: np.ones((len(i), len(t))), 4, tasks=["retrieval", "swap_count"], samples=5)
    assert isinstance(report, SceneReport)
    head, _, *lines = str(report).splitlines()
    assert head.split() == ["task", "metric", "value", "interval", "blind", "constant"]
    assert [line.split("  ")[0] for line in lines] == ["retrieval"] * 2 + ["swap_count"] * 3
    report.save_csv(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"model", "blind", "constant"}
    assert {(row["split"], row["task"]) for row in rows} == {("test", "retrieval"), ("test", "swap_count")}


def test_captions_that_are_true_of_several_images_are_right_for_each():
    task = scene_tasks(300, tasks=["retrieval"])["retrieval"]
    texts, rights = task.texts(), task.truth()
    several = sum(len(own) > 1 for own in rights)
    assert several > 10
    for scene, own in zip(task.images.scenes, rights, strict=True):
        assert [number for number, text in enumerate(texts) if is_true(text, scene)] == sorted(own)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scene_tasks(4, tasks=["colors"]), "tasks must be a list of some of color, shape, .* got 'colors'"),
        (lambda: scene_tasks(4, tasks=[]), r"got \[\]"),
        (lambda: scene_tasks(4, tasks="color"), "got 'color'"),
        (lambda: scene_tasks(1), "images must hold at least 2, got 1"),
        (lambda: scene_tasks(4, split="val"), "split must be one of train, test, held_out, got 'val'"),
        (lambda: scene_tasks(4, size=4, tasks=["color"]), "size must be at least 16 pixels, got 4"),
        (lambda: scene_tasks(4, seed=-1, tasks=["color"]), "seed must lie in"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
