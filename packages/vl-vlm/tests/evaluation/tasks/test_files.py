"""Tasks from files as Winoground and SugarCrepe publish them; images are read when they are scored."""

import json

import numpy as np
import pytest
from PIL import Image
from vl_core.data import ImageError
from vl_vlm import evaluate, read_sugarcrepe, read_winoground

SUGAR = {
    "7": {"filename": "a.png", "caption": "black", "negative_caption": "white"},
    "9": {"filename": "b.png", "caption": "white", "negative_caption": "black"},
}
WINO = [
    {"id": 3, "image_0": "a", "image_1": "b", "caption_0": "black", "caption_1": "white"},
    {"id": 4, "image_0": "b", "image_1": "a", "caption_0": "white", "caption_1": "black"},
]


def brightness(images, texts):
    return [[(1 if text == "white" else -1) * (np.mean(image) - 127) for text in texts] for image in images]


@pytest.fixture
def folder(tmp_path):
    for name, value in (("a.png", 0), ("b.png", 255)):
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(tmp_path / name)
    return tmp_path


def written(folder, content, name="items.json"):
    lines = "\n".join(json.dumps(item) for item in content) if name.endswith("l") else json.dumps(content)
    (folder / name).write_text(lines)
    return folder / name


@pytest.mark.parametrize("listed", [False, True])
def test_sugarcrepe_is_read(folder, listed):
    content = [{"id": key, **item} for key, item in SUGAR.items()] if listed else SUGAR
    task = read_sugarcrepe(written(folder, content), folder)
    assert task.item_ids == ("7", "9")
    assert task.texts() == ["black", "white", "white", "black"]
    assert evaluate(brightness, task).row("accuracy").value == 1


def test_winoground_is_read_with_names_without_endings(folder):
    task = read_winoground(written(folder, WINO, "examples.jsonl"), folder)
    assert task.item_ids == ("3", "4")
    assert evaluate(brightness, task).row("group score").value == 1


def test_images_are_read_when_they_are_scored(folder):
    task = read_sugarcrepe(written(folder, SUGAR), folder)
    (folder / "b.png").write_bytes(b"no image")
    asked = []
    with pytest.raises(ImageError, match=r"b\.png"):
        evaluate(
            lambda images, texts: asked.append(1) or brightness(images, texts), task, out=folder / "out", batch_size=1
        )
    assert asked == [1]
    assert len(task.images[:1]) == 1


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", ValueError, "annotations must be JSON"),
        ("7", ValueError, "annotations must hold a list of items"),
        ("{}", ValueError, "annotations must hold a list of items"),
        ("[7, 8]", ValueError, r"lacks \['filename', 'caption', 'negative_caption'\] in 0"),
        (json.dumps([{"filename": "a.png", "caption": "x"}]), ValueError, r"lacks \['negative_caption'\] in 0"),
        (json.dumps([{"id": 1, **SUGAR["7"]}] * 2), ValueError, "has 1 twice"),
        (json.dumps({**SUGAR, "8": {**SUGAR["7"], "filename": "c.png"}}), FileNotFoundError, "lacks 1 of 3.*'c.png'"),
    ],
)
def test_other_files_are_refused(folder, content, error, message):
    (folder / "items.json").write_text(content)
    with pytest.raises(error, match=message) as refusal:
        read_sugarcrepe(folder / "items.json", folder)
    assert "\n" not in str(refusal.value)
