"""Images with captions by position, subsets of them, and what is refused."""

import doctest
import importlib

import pytest
from PIL import Image
from vl_core.data import open_dataset
from vl_vlm import CaptionedImages

IMAGES = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 100, 200)]
CAPTIONS = [["black"], ["dark red", "maroon"], ["red"]]


def captioned(captions=CAPTIONS, names=("a", "b", "c")):
    return CaptionedImages(IMAGES, captions, names=names, name="reds")


def test_subsets_keep_image_captions_and_name_together():
    dataset = captioned().subset([2, 1]).subset([1, 0])
    assert [(item.image.getpixel((0, 0))[0], item.captions, item.name) for item in dataset] == [
        (100, ("dark red", "maroon"), "b"),
        (200, ("red",), "c"),
    ]
    assert dataset[-1] == dataset[1]
    assert repr(dataset) == "CaptionedImages('reds', 2 images, 3 captions)"


def test_captions_of_a_labeled_dataset():
    emoji = open_dataset("emoji", split="test")
    dataset = CaptionedImages.of(emoji)
    assert len(dataset) == len(emoji)
    assert dataset[3].captions == (emoji.captions[3],)
    assert dataset[3].image.tobytes() == emoji[3][0].tobytes()


@pytest.mark.parametrize("module", ["captioned", "check", "open"])
def test_docstring_examples_give_what_they_show(module):
    found = doctest.testmod(importlib.import_module(f"vl_vlm.captions.{module}"))
    assert found.attempted
    assert not found.failed


def test_images_in_memory_are_read_once():
    read = []

    class Counted:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            read.append(index)
            return IMAGES[index]

    dataset = CaptionedImages(Counted(), CAPTIONS, names=("a", "b", "c"), name="reds").subset([2, 0]).in_memory()
    assert [dataset[index] for index in (0, 1, 0)] == [captioned()[2], captioned()[0], captioned()[2]]
    assert read == [2, 0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: captioned(CAPTIONS[:2]), ValueError, "captions of reds must have one entry an image"),
        (lambda: captioned([["a"], [], ["c"]]), ValueError, "captions of 'b' in reds must be at least one"),
        (lambda: captioned([["a"], [" "], ["c"]]), ValueError, "captions of 'b' in reds must not be blank"),
        (lambda: captioned([["a"], "b", ["c"]]), TypeError, "captions of 'b' in reds must be a list"),
        (lambda: captioned([["a"], [3], ["c"]]), TypeError, "captions of 'b' in reds must be texts, got int"),
        (lambda: captioned(names=("a", "b", "a")), ValueError, "names of reds must be unique, got 'a' 2 times"),
        (lambda: captioned()[3], IndexError, "reds has 3 images, got index 3"),
        (lambda: captioned().subset([-1]), IndexError, r"indices must lie in 0\.\.2"),
        (lambda: CaptionedImages.of(open_dataset("fashion", split="test")), ValueError, "has no captions"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
