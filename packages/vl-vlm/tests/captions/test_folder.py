"""Folders with text files, and with a captions file in each of its forms."""

import json
import logging

import pytest
from captioned_files import shown
from vl_vlm import open_captions

IMAGES = {"a.png": 10, "b.png": 20}
EXPECTED = [("a.png", 10, ("a cat", "a tabby")), ("b.png", 20, ("ein Hund über 狗",))]


def test_text_files_hold_a_caption_a_line_whatever_the_line_ends(files):
    root = files(
        {
            "a2.png": 10,
            "a2.txt": "a cat\r\n\r\n  a cat \r\nfirst\u2028line\n",
            "a10.png": 20,
            "a10.txt": b"\xef\xbb\xbfein Hund \xc3\xbcber \xe7\x8b\x97",
            "deep/er/b.c.png": 30,
            "deep/er/b.c.txt": "last\rtwo",
            "README.txt": "not a caption",
            "notes.md": "neither",
            ".hidden/x.png": 4,
        }
    )
    assert shown(open_captions(root)) == [
        ("a2.png", 10, ("a cat", "a cat", "first\u2028line")),
        ("a10.png", 20, ("ein Hund über 狗",)),
        ("deep/er/b.c.png", 30, ("last", "two")),
    ]


COCO = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
    "annotations": [
        {"image_id": 3, "caption": "ein Hund über 狗"},
        {"image_id": 7, "caption": "a cat\n"},
        {"image_id": 7, "caption": "a tabby"},
    ],
}
KARPATHY = {
    "images": [
        {"filename": "a.png", "split": "restval", "sentences": [{"raw": "a cat"}, {"raw": "a tabby"}]},
        {"filename": "b.png", "split": "test", "sentences": [{"raw": "ein Hund über 狗"}]},
    ]
}
BY_FILE = {"a.png": ["a cat", "a tabby"], "./b.png": "ein Hund über 狗"}
RECORDS = [
    {"file_name": "a.png", "text": "a cat"},
    {"file_name": "b.png", "captions": ["ein Hund über 狗", " "], "text": "unused"},
    {"file_name": "a.png", "caption": "a tabby", "captions": None},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.json", json.dumps(COCO)),
        ("dataset_flickr.json", json.dumps(KARPATHY)),
        ("captions.json", "\ufeff" + json.dumps(BY_FILE)),
        ("captions.json", json.dumps({"a.png": {"captions": ["a cat", "a tabby"]}, "b.png": ["ein Hund über 狗"]})),
        ("captions.json", json.dumps(RECORDS)),
        ("metadata.jsonl", "\r\n".join(json.dumps(record) for record in RECORDS) + "\n\n"),
        ("metadata.csv", "\ufefffile_name,text\r\na.png,a cat\r\nb.png,ein Hund über 狗\r\na.png,a tabby\r\n"),
        ("train.tsv", "filepath\ttitle\na.png\ta cat\na.png\ta tabby\nb.png\tein Hund über 狗\n"),
        ("open_clip.csv", "filepath\ttitle\na.png\ta cat\na.png\ta tabby\nb.png\tein Hund über 狗\n"),
        (
            "results.csv",
            "image_name| comment_number| comment\na.png| 0| a cat\na.png| 1| a tabby\nb.png| 0| ein Hund über 狗",
        ),
        ("captions.csv", 'image,caption\na.png,"a cat"\na.png,a tabby\n\nb.png,"ein Hund über 狗"\n'),
    ],
)
def test_captions_files(files, name, content):
    root = files({**IMAGES, name: content})
    assert shown(open_captions(root)) == EXPECTED
    assert shown(open_captions(root / name, limit=1)) == EXPECTED[:1]


def test_paths_are_relative_to_the_captions_file_or_to_the_folder_of_images(files):
    root = files({"images/a.png": 10, "images/b.png": 20, "annotations/captions.json": json.dumps(COCO)})
    assert shown(open_captions(root / "annotations/captions.json", images=root / "images")) == EXPECTED
    moved = files({"captions.csv": f"image,caption\n{root}/images/a.png,a cat\n"})
    assert shown(open_captions(moved / "captions.csv")) == [("images/a.png", 10, ("a cat",))]


def test_other_columns_are_named(files):
    root = files({**IMAGES, "all.csv": "text,where,alt\n1,a.png,a cat\n2,b.png,a dog\n"})
    dataset = open_captions(root, caption_column="alt", image_column="where")
    assert [item.captions for item in dataset] == [("a cat",), ("a dog",)]


def test_splits_come_from_subfolders_or_from_the_rows(files):
    part = {"a.png": 1, "a.txt": "a"}
    root = files(
        {**{f"folders/train/{k}": v for k, v in part.items()}, "folders/val/b.png": 2, "folders/val/b.txt": "b"}
    )
    assert open_captions(root / "folders").names == ("train/a.png", "val/b.png")
    assert open_captions(root / "folders", split="validation").names == ("val/b.png",)
    assert open_captions(root / "folders", default_split="train").names == ("train/a.png",)
    files({**IMAGES, "dataset.json": json.dumps(KARPATHY)}, "rows")
    assert open_captions(root / "rows", split="test").names == ("b.png",)
    assert open_captions(root / "folders/train", default_split="test").names == ("a.png",)
    for spec, message in (
        ("folders", "one of 'train', 'val'"),
        ("rows", "'test', 'restval'"),
        ("folders/val", "left out"),
    ):
        with pytest.raises(ValueError, match=message):
            open_captions(root / spec, split="other")


def test_nothing_is_lost_silently(files, caplog):
    root = files(
        {
            **IMAGES,
            "c.png": b"no image",
            "d.png": 40,
            "metadata.jsonl": "\n".join(
                json.dumps({"file_name": name, "text": text})
                for name, text in {"a.png": "a", "b.png": " ", "c.png": "c", "gone.png": "gone"}.items()
            ),
        }
    )
    with pytest.raises(ValueError, match=r"b\.png has no caption, in metadata\.jsonl \(and 1 more\).*skip_broken"):
        open_captions(root)
    with caplog.at_level(logging.WARNING):
        dataset = open_captions(root, skip_broken=True, progress=False)
    assert dataset.names == ("a.png",)
    assert [name for name, _ in dataset.skipped] == ["b.png", "gone.png", "c.png"]
    assert "does not name 1 images of its folder, the first is d.png" in caplog.text
    assert "skipped 3 samples" in caplog.text


def test_texts_without_image_and_images_without_text_are_counted(files):
    root = files(
        {
            **IMAGES,
            "a.txt": "a",
            "c.txt": "c",
            "License.txt": "MIT",
            "d.png": 4,
            "d.txt": b"\xff\xfe",
            "e.png": 5,
            "e.txt": "\n",
        }
    )
    assert dict(open_captions(root, skip_broken=True, progress=False).skipped) == {
        "b.png": "has no caption, which would be b.txt beside it",
        "c.txt": "has no image beside it",
        "d.png": "holds text that is not UTF-8 (byte 0); save it as UTF-8, in d.txt",
        "e.png": "has no caption, in e.txt",
    }


def test_coco_annotations_of_unknown_images_are_counted(files):
    content = {**COCO, "annotations": [*COCO["annotations"], {"image_id": 99, "caption": "lost"}]}
    root = files({**IMAGES, "captions.json": json.dumps(content)})
    with pytest.raises(ValueError, match=r"annotation 3 of captions\.json belongs to image 99, which is not listed"):
        open_captions(root)
    dataset = open_captions(root, skip_broken=True, progress=False)
    assert (len(dataset), len(dataset.skipped)) == (2, 1)


def test_an_excluded_folder_is_passed_over(files):
    root = files({"a.png": 1, "a.txt": "a", "out/grid.png": 2})
    assert len(open_captions(root, exclude=root / "out")) == 1
