"""NumPy archives: what they may hold, and each way in which an array can be wrong."""

import struct
import zipfile

import numpy as np
import pytest
from vl_core.data import open_dataset

GRAY = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
COLOR = np.arange(5 * 3 * 4 * 3, dtype=np.uint8).reshape(5, 3, 4, 3)


def save(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


@pytest.mark.parametrize("key", ["x", "images"])
@pytest.mark.parametrize(
    ("pixels", "mode"), [(GRAY, "L"), (GRAY[..., None], "L"), (COLOR, "RGB"), (COLOR / 255, "RGB")]
)
def test_images_come_back_exactly(tmp_path, key, pixels, mode):
    dataset = open_dataset(save(tmp_path, **{key: pixels}))
    image, label = dataset[2]
    assert image.mode == mode
    assert np.array_equal(np.asarray(image), (COLOR if mode == "RGB" else GRAY)[2])
    assert label == -1
    assert dataset.names[2] == "set.npz/00002"
    assert dataset.classes == ()


def test_numbers_are_their_own_names_without_classes(tmp_path):
    for labels in (np.array([2, 0, -1, 1, 2]), np.array([[2], [0], [-1], [1], [2]], np.int8)):
        dataset = open_dataset(save(tmp_path, x=GRAY, y=labels))
        assert dataset.labels.tolist() == [2, 0, -1, 1, 2]
        assert dataset.classes == ("0", "1", "2")


def test_classes_captions_and_splits_are_taken_over(tmp_path):
    path = save(
        tmp_path,
        images=GRAY,
        labels=np.array([0, 1, 0, 1, 0]),
        classes=np.array(["cat", "dog", "emu"]),
        captions=np.array(list("abcde")),
        split=np.array(["train", "test", "train", "test", "extra"]),
    )
    dataset = open_dataset(path, split="test")
    assert dataset.classes == ("cat", "dog", "emu")
    assert dataset.captions == ("b", "d")
    assert dataset.labels.tolist() == [1, 1]
    assert dataset.names == ("set.npz/00001", "set.npz/00003")
    assert np.array_equal(np.asarray(dataset[1][0]), GRAY[3])
    assert len(open_dataset(path)) == 5
    assert len(open_dataset(path, split="extra")) == 1
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'extra' for"):
        open_dataset(path, split="val")


def test_labels_may_be_names(tmp_path):
    dataset = open_dataset(save(tmp_path, x=GRAY, y=np.array(["dog", "cat", "dog", "emu", "cat"])))
    assert dataset.classes == ("cat", "dog", "emu")
    assert dataset.labels.tolist() == [1, 0, 1, 2, 0]


NAN = np.where(np.arange(5)[:, None, None] == 3, np.nan, GRAY / 255)


@pytest.mark.parametrize(
    ("arrays", "cause"),
    [
        ({}, "must hold an array 'x' or 'images', got nothing; name the arrays"),
        ({"arr_0": GRAY}, r"'x' or 'images', got arr_0; name the arrays .*: np\.savez\(file, x=images, y=labels"),
        ({"train_images": GRAY, "y": np.zeros(5, int)}, "must hold an array 'x' or 'images', got train_images, y; "),
        ({"x": GRAY, "images": GRAY}, "holds both 'x' and 'images'"),
        ({"x": GRAY[0]}, r"array 'x' of .*set\.npz must have shape \(n, H, W\) or \(n, H, W, C\), got \(3, 4\)"),
        ({"x": np.zeros((5, 3, 4, 2), np.uint8)}, r"array 'x' .* must have 1 or 3 channels .* \(5, 3, 4, 2\)$"),
        ({"images": np.zeros((5, 3, 8, 8), np.uint8)}, r"array 'images' .*; move the channels to the end"),
        ({"x": np.zeros((5, 0, 4), np.uint8)}, "must hold images with pixels"),
        ({"x": GRAY.astype(int)}, "array 'x' .* must be uint8 or floating point .* got int64"),
        ({"x": NAN}, "array 'x' .* must be finite, got NaN or infinity in image 3"),
        ({"x": GRAY.astype(float)}, r"array 'x' .* must lie in \[0, 1\] for float64, got 0 to 59"),
        ({"x": GRAY / -255}, r"must lie in \[0, 1\]"),
        ({"x": np.array([GRAY, None], object)}, "array 'x' .* holds Python objects, which are not unpickled"),
        ({"x": GRAY, "y": np.zeros(4, int)}, r"array 'y' .* must have shape \(5,\) like 'x', got \(4,\)"),
        ({"x": GRAY, "y": np.eye(5, dtype=int)}, r"shape \(5,\) like 'x', got \(5, 5\); .*one-hot rows are y.argmax"),
        ({"x": GRAY, "y": np.zeros(5)}, "array 'y' .* must hold integers or names, got 0.0 of type float"),
        ({"x": GRAY, "y": np.full(5, -2)}, r"array 'y' .* must lie in -1\.\.-1"),
        ({"x": GRAY, "labels": np.arange(5), "classes": np.array(["a", "b"])}, r"array 'labels' .* -1\.\.1 .* -?0?.*4"),
        ({"x": GRAY, "y": np.array(list("aabbc")), "classes": np.array(["a", "b"])}, "'c', which is not among the 2"),
        ({"x": GRAY, "classes": np.arange(3)}, "array 'classes' .* must be text of one dimension, got int64"),
        ({"x": GRAY, "captions": np.array(["a"])}, r"array 'captions' .* must be text of shape \(5,\)"),
        ({"x": GRAY, "split": np.zeros(5, int)}, "array 'split' .* must be text"),
    ],
)
def test_what_is_wrong_names_the_array(tmp_path, arrays, cause):
    with pytest.raises(ValueError, match=cause):
        open_dataset(save(tmp_path, **arrays))


def test_a_damaged_archive_is_named(tmp_path):
    path = save(tmp_path, x=GRAY)
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"", b"text"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"set\.npz is not a whole \.npz archive"):
            open_dataset(path)


def test_a_single_array_under_this_name_is_no_archive(tmp_path):
    with (tmp_path / "set.npz").open("wb") as file:
        np.save(file, GRAY)
    with pytest.raises(ValueError, match="is a single array"):
        open_dataset(tmp_path / "set.npz")


def test_a_range_of_values_becomes_black_to_white(tmp_path):
    values = np.array([[[0, 1000, 2048], [4000, 4095, 60_000]]], np.uint16)
    for pixels in (values, values.astype(np.int32), values.astype(np.float32)):
        dataset = open_dataset(save(tmp_path, x=pixels), pixel_range=(0, 4095))
        assert np.asarray(dataset[0][0]).tolist() == [[0, 62, 128], [249, 255, 255]]
    with pytest.raises(ValueError, match=r"must be uint8 or floating point .* got uint16; save it as uint8, or"):
        open_dataset(save(tmp_path, x=values))
    assert np.asarray(open_dataset(save(tmp_path, x=GRAY), pixel_range=(0, 4095))[2][0]).tolist() == GRAY[2].tolist()


def in_headers(path, local, central, value):
    """Write a 16- or 32-bit field into both headers of the first member."""
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        start = content.index(signature) + place
        code = "<H" if place in (6, 8, 10) else "<I"
        struct.pack_into(code, content, start, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("local", "central", "value", "cause"),
    [
        (6, 8, 1, "array 'x' of .* is encrypted"),
        (8, 10, 99, "array 'x' of .* has compression type 99, expected none or deflate"),
        (8, 10, 12, "array 'x' of .* has compression type 12"),
        (22, 24, 2**31, r"array 'x' of .* declares 2,147,483,648 bytes, more than its 188 stored bytes could hold"),
        (22, 24, 100, "array 'x' of .*set"),
        (14, 16, 7, r"array 'x' of .*Bad CRC-32"),
    ],
)
def test_a_member_that_cannot_be_read_is_named(tmp_path, local, central, value, cause):
    with pytest.raises(ValueError, match=cause):
        open_dataset(in_headers(save(tmp_path, x=GRAY), local, central, value))


def test_a_bomb_a_repeated_array_and_an_array_of_nothing_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", bytes(10**8))
    assert path.stat().st_size < 1000
    with pytest.raises(ValueError, match="has compression type 12"):
        open_dataset(path)
    np.savez(path, x=GRAY)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.npy", archive.read("x.npy"))
    with pytest.raises(ValueError, match="holds array 'x' twice"):
        open_dataset(path)
    np.savez(path, x=GRAY)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y", b"no array")
    with pytest.raises(ValueError, match=r"array 'y' of .* has no header of an array"):
        open_dataset(path)


@pytest.mark.parametrize("labels", [np.array([0, 1, 2, 0, 2**62]), np.array([0, 1, 2, 0, 2**64 - 1], np.uint64)])
def test_a_label_without_a_name_costs_no_memory(tmp_path, labels):
    with pytest.raises(
        ValueError, match=r"array 'y' of .* must lie below 1,000,000 where no class names are given, got"
    ):
        open_dataset(save(tmp_path, x=GRAY, y=labels))
    with pytest.raises(ValueError, match=r"array 'y' of .* must lie in -1\.\.0"):
        open_dataset(save(tmp_path, x=GRAY, y=labels, classes=np.array(["cat"])))
