"""Specs of `open_dataset`, and the data set type itself."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from vl_core._extras import import_extra
from vl_core.data import BUILTIN_NAMES, ImageDataset, image_to_tensor, open_dataset


def test_the_built_in_names_are_these():
    assert BUILTIN_NAMES == ("fashion", "emoji", "emoji:noto", "emoji:twemoji", "emoji:fluent", "fashion-mnist")


def test_importing_needs_no_extra():
    code = "import sys, vl_core.data; print([m for m in ('pyarrow', 'datasets', 'pandas') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- Specs ----


@pytest.mark.parametrize(("spec", "close"), [("fashon", "fashion"), ("Emoji", "emoji"), ("fashion_mnist", "fashion-")])
def test_an_unknown_name_lists_what_is_understood_and_suggests(spec, close):
    with pytest.raises(ValueError, match=rf"an image folder, .* got '{spec}'; did you mean .*'{close}") as caught:
        open_dataset(spec)
    for name in BUILTIN_NAMES:
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_like_nothing_known_gets_no_suggestion():
    with pytest.raises(ValueError, match=r"got 'qqq'$"):
        open_dataset("qqq")


@pytest.mark.parametrize("spec", ["folder/images", "set.npz", "set.parquet"])
def test_a_path_to_nothing_is_a_missing_file(tmp_path, spec):
    for path in (tmp_path / spec, str(tmp_path / spec)):
        with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*"):
            open_dataset(path)


def test_a_single_image_is_for_read_image(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"got the file .*a\.png; a single image is for read_image"):
        open_dataset(tmp_path / "a.png")


def test_a_folder_named_like_a_built_in_set_is_opened_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "fashion/a.png")
    assert len(open_dataset("fashion")) == 12_000
    assert open_dataset("./fashion").names == ("a.png",)


def test_on_error_is_one_of_two_words():
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
        open_dataset("fashion", on_error="ignore")


def test_skipping_changes_nothing_where_everything_can_be_read():
    dataset = open_dataset("fashion", split="test", on_error="skip")
    assert len(dataset) == 2000
    assert dataset.skipped == ()


def test_something_missing_inside_an_extra_is_not_blamed_on_the_extra(tmp_path, monkeypatch):
    (tmp_path / "outer_module.py").write_text("import surely_missing_inner")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'surely_missing_inner'"):
        import_extra("outer_module", "parquet")


# ---- The data set ----


class Levels:
    """Images of one gray level each."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return Image.new("L", (2, 2), index)


def make(**changes):
    options = {"name": "levels", "names": list("abcde"), "classes": ["even", "odd"]} | changes
    return ImageDataset(Levels(), options.pop("labels", [0, 1, 0, 1, -1]), **options)


def test_images_come_with_their_labels_and_can_be_counted_from_the_end():
    dataset = make()
    assert [(image.getpixel((0, 0)), label) for image, label in (dataset[0], dataset[-1])] == [(0, 0), (4, -1)]
    assert dataset[np.int64(3)][1] == 1
    assert type(dataset[3][1]) is int
    assert dataset.labels.dtype == np.int64


@pytest.mark.parametrize("index", [5, -6])
def test_a_position_beyond_the_end_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"levels has 5 images, got index {index}"):
        make()[index]


def test_iterating_ends():
    assert len(list(make())) == 5


def test_the_transform_is_applied_when_a_image_is_read():
    dataset = open_dataset("fashion", split="test", transform=image_to_tensor)
    images, labels = next(iter(torch.utils.data.DataLoader(dataset, batch_size=20)))
    assert images.shape == (20, 1, 28, 28)
    assert labels.tolist() == [*range(10)] * 2


def test_a_copy_in_another_process_would_give_the_same_images():
    dataset = open_dataset("emoji:fluent", split="val", transform=image_to_tensor).subset(range(6))
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.names == dataset.names
    assert all(torch.equal(copy[index][0], dataset[index][0]) for index in range(6))


def test_a_subset_of_a_subset_keeps_everything_in_step():
    whole = make(captions=list("ABCDE"), metadata=[{"n": n} for n in range(5)], skipped=[("f", "gone")], split="train")
    part = whole.subset([4, 2, 2, 1]).subset(np.array([3, 0]))
    assert part.names == ("b", "e")
    assert part.captions == ("B", "E")
    assert [entry["n"] for entry in part.metadata] == [1, 4]
    assert [(image.getpixel((0, 0)), label) for image, label in part] == [(1, 1), (4, -1)]
    assert (part.split, part.classes, part.skipped) == ("train", ("even", "odd"), (("f", "gone"),))
    assert len(whole) == 5


@pytest.mark.parametrize("indices", [[5], [-1]])
def test_a_subset_must_lie_inside(indices):
    with pytest.raises(IndexError, match=r"indices must lie in 0\.\.4 for levels"):
        make().subset(indices)


def test_an_empty_subset_is_a_data_set_of_no_images():
    assert len(make().subset([])) == 0


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"labels": [0, 1]}, r"labels of levels must have one entry an image \(5\), got 2"),
        ({"names": ["a"]}, "names of levels must have one entry"),
        ({"captions": ["a"]}, "captions of levels must have one entry"),
        ({"metadata": []}, "metadata of levels must have one entry"),
        ({"labels": [0, 1, 2, 0, 0]}, r"labels of levels must lie in -1\.\.1 .* got 0\.\.2"),
        ({"labels": [0, 1, -2, 0, 0]}, r"got -2\.\.1"),
    ],
)
def test_what_does_not_belong_together_is_an_error(changes, cause):
    with pytest.raises(ValueError, match=cause):
        make(**changes)


def test_it_says_what_it_is():
    assert (
        repr(open_dataset("fashion", split="test")) == "ImageDataset('fashion', split='test', 2000 images, 10 classes)"
    )
