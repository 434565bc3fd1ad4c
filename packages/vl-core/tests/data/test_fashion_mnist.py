"""The full Fashion-MNIST is found where its packages put it, and its absence says where to get it."""

import gzip
import struct

import numpy as np
import pytest
from vl_core.data import _fashion_mnist, open_dataset


def write(folder, *, compressed=True, sizes=(30, 20), labels=None):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix, n in zip(("train", "t10k"), sizes, strict=True):
        arrays = {
            "images-idx3-ubyte": generator.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            "labels-idx1-ubyte": np.arange(n if labels is None else labels, dtype=np.uint8) % 10,
        }
        for kind, array in arrays.items():
            content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            path = folder / f"{prefix}-{kind}{'.gz' if compressed else ''}"
            path.write_bytes(gzip.compress(content) if compressed else content)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No place of this machine is looked in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VL_DATA", str(tmp_path / "vl-data"))
    monkeypatch.setattr(_fashion_mnist, "DEBIAN", tmp_path / "debian")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "place", ["vl-data/fashion_mnist", "vl-data/FashionMNIST/raw", "debian", "data/FashionMNIST/raw"]
)
def test_it_is_found_in_each_place(tmp_path, place, compressed):
    write(tmp_path / place, compressed=compressed)
    dataset = open_dataset("fashion-mnist", split="test")
    assert len(dataset) == 20
    assert dataset.names[3] == "fashion-mnist/test/00003"
    assert dataset.classes[9] == "ankle boot"
    assert dataset.labels.tolist() == [index % 10 for index in range(20)]
    assert len(open_dataset("fashion-mnist")) == 50


def test_an_incomplete_folder_is_passed_over(tmp_path):
    write(tmp_path / "vl-data/fashion_mnist")
    (tmp_path / "vl-data/fashion_mnist/t10k-labels-idx1-ubyte.gz").unlink()
    write(tmp_path / "debian", sizes=(7, 5))
    assert len(open_dataset("fashion-mnist")) == 12


def test_its_absence_names_the_places_and_the_remedies(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        open_dataset("fashion-mnist")
    message = str(caught.value)
    for place in _fashion_mnist.places():
        assert str(place) in message
    for remedy in ("apt install dataset-fashion-mnist", "download=True", "VL_DATA"):
        assert remedy in message


def test_without_the_variable_the_other_places_remain(tmp_path, monkeypatch):
    monkeypatch.delenv("VL_DATA")
    write(tmp_path / "debian")
    assert len(open_dataset("fashion-mnist", split="train")) == 30


def test_images_and_labels_must_belong_together(tmp_path):
    write(tmp_path / "debian", labels=4)
    with pytest.raises(ValueError, match=r"got \(30, 28, 28\) and \(4,\)"):
        open_dataset("fashion-mnist")


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path / "debian")
    path = tmp_path / "debian/train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is not a whole gzip file"):
        open_dataset("fashion-mnist", split="train")
