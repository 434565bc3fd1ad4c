"""Hugging Face data sets made on disk; nothing is fetched."""

import sys

import numpy as np
import pytest
from PIL import Image
from vl_core.data import ImageError, open_dataset

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra vl-core[huggingface]")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True, raising=False)


def rows(*levels, **columns):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    content = {
        "image": [Image.new("L", (4, 3), level) for level in levels],
        "label": [level % 2 for level in levels],
    }
    for name, values in columns.items():
        content[name], features[name] = values, datasets.Value("string")
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_a_saved_data_set_is_opened(tmp_path, prefix):
    rows(1, 2, 3, text=["a", "b", "c"]).save_to_disk(tmp_path / "pets")
    dataset = open_dataset(f"{prefix}{tmp_path / 'pets'}")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.captions == ("a", "b", "c")
    assert dataset.names[2] == "pets/00002"
    image, label = dataset[2]
    assert (image.mode, image.getpixel((0, 0)), label) == ("L", 3, 1)


def test_splits_are_taken_one_by_one_or_all(tmp_path):
    datasets.DatasetDict({"validation": rows(5), "train": rows(1, 2)}).save_to_disk(tmp_path / "pets")
    assert open_dataset(tmp_path / "pets", split="val").labels.tolist() == [1]
    whole = open_dataset(tmp_path / "pets")
    assert [whole[index][0].getpixel((0, 0)) for index in range(3)] == [1, 2, 5]
    assert [entry["split"] for entry in whole.metadata] == ["train", "train", "validation"]
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation' for"):
        open_dataset(tmp_path / "pets", split="test")


def test_a_folder_that_the_library_understands_is_opened(tmp_path):
    rows(1, 2).to_parquet(tmp_path / "pets/train-00000.parquet")
    dataset = open_dataset(f"hf:{tmp_path / 'pets'}", split="train")
    assert dataset.classes == ("cat", "dog")
    assert dataset[1][0].getpixel((0, 0)) == 2


def test_images_that_lie_in_their_own_files_are_named_by_them(tmp_path):
    for name, level in (("cat/a.png", 1), ("dog/b.png", 2)):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        Image.new("L", (4, 3), level).save(tmp_path / "pets" / name)
    dataset = open_dataset(f"hf:{tmp_path / 'pets'}")
    assert dataset.classes == ("cat", "dog")
    assert sorted((dataset[i][0].getpixel((0, 0)), dataset[i][1]) for i in range(2)) == [(1, 0), (2, 1)]
    (tmp_path / "pets/dog/b.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"b\.png is not an image"):
        dataset[1]


def test_other_columns_are_found_by_their_type(tmp_path):
    renamed = rows(1, 2).rename_columns({"image": "img", "label": "species"})
    renamed.save_to_disk(tmp_path / "pets")
    dataset = open_dataset(tmp_path / "pets")
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.captions is None


def test_images_in_color_come_back_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    made = datasets.Dataset.from_dict({"image": [pixels]}, features=datasets.Features({"image": datasets.Image()}))
    made.save_to_disk(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    assert np.array_equal(np.asarray(dataset[0][0]), pixels)
    assert dataset.labels.tolist() == [-1]
    assert dataset.classes == ()


def test_a_bad_image_is_named_or_skipped(tmp_path):
    features = datasets.Features({"image": datasets.Image(decode=False)})
    content = [{"bytes": b"no image", "path": None}, None]
    datasets.Dataset.from_dict({"image": content}, features=features).save_to_disk(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    with pytest.raises(ImageError, match=r"row 0 of .*set is not an image"):
        dataset[0]
    with pytest.raises(ImageError, match=r"row 1 of .* holds no image"):
        dataset[1]
    skipping = open_dataset(tmp_path / "set", on_error="skip")
    assert len(skipping) == 0
    assert len(skipping.skipped) == 2


def test_a_data_set_without_images_is_an_error(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "set")
    with pytest.raises(ValueError, match="must have a column of type Image"):
        open_dataset(tmp_path / "set")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vl-core\[huggingface\]'"):
        open_dataset("hf:owner/name")


def test_a_data_set_needs_a_name():
    with pytest.raises(ValueError, match="name the data set behind 'hf:'"):
        open_dataset("hf:")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"\xff"),
        ("state.json", b'{"_data_files": [3]}'),
        ("state.json", b"[" * 5000),
        ("dataset_info.json", b"{"),
        ("data-00000-of-00001.arrow", b"no arrow"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path, name, content):
    rows(1, 2).save_to_disk(tmp_path / "pets")
    (tmp_path / "pets" / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"pets"):
        open_dataset(tmp_path / "pets")


def test_places_of_values_beyond_the_file_are_found_when_it_is_opened(tmp_path):
    rows(1, 2, text=["first text", "second text"]).save_to_disk(tmp_path / "pets")
    path = tmp_path / "pets/data-00000-of-00001.arrow"
    content = path.read_bytes()
    places = np.array([0, 10, 21], np.int32).tobytes()
    assert content.count(places) == 1
    path.write_bytes(content.replace(places, np.array([0, -10, 21], np.int32).tobytes()))
    with pytest.raises(ValueError, match=r"pets cannot be opened by datasets: .*offset"):
        open_dataset(tmp_path / "pets")
