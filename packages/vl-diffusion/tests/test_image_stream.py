"""Everything that holds images gives the same images, one after the other."""

from __future__ import annotations

import io

import datasets
import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from vl_core.data import ImageError, open_dataset
from vl_diffusion import DiffusionClassifier, Exhaustive, draw_errors, match
from vl_diffusion.models.image_stream import count_images, each_image, image_sequence, load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3), np.uint8)
TENSORS = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
IMAGES = [Image.fromarray(pixels) for pixels in PIXELS]
LABELS = torch.arange(5)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rows(**columns):
    """A Hugging Face data set with the images in its first column."""
    table = columns or {"image": IMAGES, "label": LABELS.tolist()}
    return datasets.Dataset.from_dict(table).cast_column(next(iter(table)), datasets.Image())


class Endless(IterableDataset):
    """An iterable data set, which has indices only by inheritance."""

    def __iter__(self):
        return iter(zip(TENSORS, LABELS, strict=True))


def detection(batch):
    """Batches as object detection has them: a tuple of images and a tuple of labels."""
    return tuple(zip(*batch, strict=True))


PAIRS = list(zip(IMAGES, range(5), strict=True))
SOURCES = {
    # name: (images, whether their number is known)
    "list": (lambda: IMAGES, True),
    "tuple": (lambda: tuple(IMAGES), True),
    "arrays": (lambda: list(PIXELS), True),
    "batch of bytes": (lambda: PIXELS, True),
    "batch": (lambda: TENSORS, True),
    "encoded": (lambda: [png(image) for image in IMAGES], True),
    "pairs": (lambda: PAIRS, True),
    "pairs of views": (lambda: [(image, image.rotate(90)) for image in IMAGES], True),
    "generator": (lambda: (image for image in IMAGES), False),
    "generator of pairs": (lambda: iter(PAIRS), False),
    "map": (lambda: map(png, IMAGES), False),
    "dictionary's values": (lambda: dict(enumerate(IMAGES)).values(), False),
    "pandas": (lambda: pandas.Series(IMAGES, index=[7, 8, 9, 0, 1]), False),
    "rows of nested values": (lambda: [{"photo": image, "meta": {"id": i}} for i, image in enumerate(IMAGES)], True),
    "loader": (lambda: DataLoader(TENSORS, batch_size=2), False),
    "loader of bytes": (lambda: DataLoader(list(PIXELS), batch_size=2), False),
    "loader of bytes, channels first": (lambda: DataLoader((TENSORS * 255).round().byte(), batch_size=2), False),
    "loader of pairs": (lambda: DataLoader(TensorDataset(TENSORS, LABELS), batch_size=2), False),
    "loader without labels": (lambda: DataLoader(TensorDataset(TENSORS), batch_size=2), False),
    "loader without batches": (lambda: DataLoader(TensorDataset(TENSORS, LABELS), batch_size=None), False),
    "loader of lists": (lambda: DataLoader(PAIRS, batch_size=2, collate_fn=list), False),
    "loader for detection": (lambda: DataLoader(PAIRS, batch_size=2, collate_fn=detection), False),
    "loader of rows": (lambda: DataLoader([{"image": t, "label": 0} for t in TENSORS], batch_size=2), False),
    "batches in a list": (lambda: list(DataLoader(TensorDataset(TENSORS, LABELS), batch_size=2)), False),
    "one batch of a loader": (lambda: next(iter(DataLoader(TensorDataset(TENSORS, LABELS), batch_size=5))), False),
    "iterable data set": (Endless, False),
    "Hugging Face": (rows, True),
    "Hugging Face, not decoded": (lambda: rows().cast_column("image", datasets.Image(decode=False)), True),
    "Hugging Face, another name": (lambda: rows(photo=IMAGES, text=list("abcde")), True),
    "Hugging Face, arrays": (lambda: rows().with_format("numpy"), True),
    "Hugging Face, tensors": (lambda: rows().with_format("torch"), True),
    "Hugging Face, streaming": (lambda: rows().to_iterable_dataset(), False),
    "Hugging Face, a list of rows": (lambda: list(rows()), True),
    "Hugging Face, a batch": (lambda: rows()[:5], False),
    "Hugging Face, a column": (lambda: rows()["image"], True),
    "WebDataset": (lambda: ({"__key__": "a", "json": b"{}", "png": png(image)} for image in IMAGES), False),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_its_images(name):
    make, known = SOURCES[name]
    found = [load_image(image, i) for i, image in enumerate(each_image(make()))]
    assert torch.equal(torch.stack(found), TENSORS)
    assert count_images(make()) == (5 if known else None)
    # Several times, as matching and tables of errors need them.
    again = image_sequence(make())
    for _ in range(2):
        assert torch.equal(torch.stack([load_image(x, i) for i, x in enumerate(each_image(again))]), TENSORS)


@pytest.mark.parametrize(
    "one", [IMAGES[0], PIXELS[0], TENSORS[0], png(IMAGES[0]), PAIRS[0], {"image": IMAGES[0], "label": 3}]
)
def test_one_image_is_one(one):
    (found,) = each_image(one)
    assert torch.equal(load_image(found, 0), TENSORS[0])
    assert len(image_sequence(one)) == 1


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ("cat.png", TypeError, "got the file name 'cat.png'; open it with read_image"),
        (7, TypeError, "images must be an image, a sequence, a data set or an iterable of images, got int"),
        ([{"text": "cat", "label": 0}], TypeError, "must have a column of images, such as 'image', got text, label"),
        (
            dict(zip("ab", IMAGES, strict=False)),
            TypeError,
            "in 'a', 'b'; rename the one .* pass the values of a",
        ),
        ([{"mask": IMAGES[1], "photo": IMAGES[0]}], TypeError, "got images in 'mask', 'photo'; rename the one to use"),
        (io.BytesIO(png(IMAGES[0])), TypeError, r"got an open file \(BytesIO\); pass its bytes"),
        (["cat.png"], TypeError, "image 0: image must be a PIL image, .* got str; read files with read_image"),
        ([IMAGES[0], b"no image"], ImageError, "image 1 is not an image in a known format"),
        ([{"image": {"bytes": b"", "path": None}}], ImageError, "image 0 is empty"),
        ([None], TypeError, "image 0: image must be a PIL image, .* got NoneType"),
        (iter([TENSORS[0], TENSORS[1] * 2]), ValueError, r"image 1: .* must lie in \[0, 1\]"),
        ([], ValueError, "images is empty"),
        (iter([]), ValueError, "images is empty"),
    ],
)
def test_what_is_no_image_is_named(images, error, message, classifier):
    with pytest.raises(error, match=message):
        classifier.classify(images)


@pytest.fixture(scope="module")
def classifier(pixel_dit_folder):
    return DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(2))


@pytest.mark.parametrize("name", ["generator", "loader of pairs", "Hugging Face", "one batch of a loader"])
def test_results_do_not_depend_on_the_source(name, classifier):
    result, expected = classifier.classify(SOURCES[name][0]()), classifier.classify(IMAGES)
    np.testing.assert_array_equal(result.image_ids, expected.image_ids)
    np.testing.assert_allclose(result.errors, expected.errors, rtol=1e-6)


def test_a_generator_is_read_as_results_are_taken(classifier):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield IMAGES[len(taken) % 5]

    stream = classifier.stream(endless())
    assert len([next(stream) for _ in range(3)]) == 3
    assert len(taken) < 100


def test_ids_and_logits_of_an_iterable_are_counted(classifier):
    expected = classifier.classify(IMAGES, image_ids=range(5))
    found = classifier.classify(iter(IMAGES), image_ids=(i for i in range(5)), logits=np.zeros((5, 10)))
    np.testing.assert_array_equal(found.errors, expected.errors)
    with pytest.raises(ValueError, match="image_ids and logits need one entry for each image, got 4 for more images"):
        classifier.classify(iter(IMAGES), image_ids=range(4))
    with pytest.raises(ValueError, match="image_ids and logits need one entry for each image, got 6 for 5 images"):
        classifier.classify(iter(IMAGES), logits=np.zeros((6, 10)))
    with pytest.raises(ValueError, match="image_ids needs one entry for each of the 5 images, got 4"):
        classifier.classify(IMAGES, image_ids=range(4))


def test_other_functions_take_the_same(classifier):
    expected = draw_errors(classifier, IMAGES)
    np.testing.assert_array_equal(draw_errors(classifier, iter(PAIRS)).errors, expected.errors)
    found = match(classifier, SOURCES["loader of pairs"][0](), classifier.classes[:2], draws=2)
    np.testing.assert_allclose(found.errors, match(classifier, IMAGES, classifier.classes[:2], draws=2).errors)


def test_unreadable_images_can_be_left_out(classifier, tmp_path):
    for i in (0, 1, 2):
        IMAGES[i].save(tmp_path / f"{i}.png")
    folder = open_dataset(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    failed = []
    found = dict(classifier.stream(folder, on_error=lambda i, error: failed.append((i, str(error)))))
    assert sorted(found) == [0, 2]
    assert [i for i, _ in failed] == [1]
    assert "1.png is not an image in a known format" in failed[0][1]
    # One by one in the same way, whatever the item is.
    items = [IMAGES[0], b"", "cat.png", {"text": "no image"}, {"img": IMAGES[2]}, (IMAGES[3], 7)]
    for source in (items, iter(items), tuple(items)):
        assert sorted(dict(classifier.stream(source, on_error=lambda i, error: None))) == [0, 4, 5]
    with pytest.raises(ImageError, match=r"1\.png is not an image"):
        classifier.classify(folder)
