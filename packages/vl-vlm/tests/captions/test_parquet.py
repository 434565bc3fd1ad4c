"""Parquet files: columns of captions, splits, several files, damage."""

import pickle

import pyarrow as pa
import pytest
from captioned_files import encoded, shown
from pyarrow import parquet
from vl_core.data import ImageError
from vl_vlm import open_captions


def save(path, shades, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"image": [encoded(shade) for shade in shades], **columns}
    parquet.write_table(pa.table(table), path, row_group_size=2)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {"caption": ["a", "b", "c"]},
        {"text": pa.array(["a", "b", "c"], pa.large_string())},
        {"caption": pa.array(["a", "b", "c"]).dictionary_encode()},
        {"captions": [["a"], ["b", None, " "], ["c"]], "caption": ["x"] * 3},
        {"caption": [["a"], ["b"], ["c"]], "text": ["x"] * 3},
    ],
    ids=lambda columns: "-".join(columns),
)
def test_columns_of_captions(tmp_path, columns):
    assert shown(open_captions(save(tmp_path / "set.parquet", [1, 2, 3], **columns))) == [
        ("set.parquet/00000", 1, ("a",)),
        ("set.parquet/00001", 2, ("b",)),
        ("set.parquet/00002", 3, ("c",)),
    ]


def test_other_columns_and_structs_of_bytes(tmp_path):
    rows = [{"bytes": encoded(shade), "path": "x.png"} for shade in (1, 2)]
    table = pa.table({"photo": rows, "alt": [["a", "b"], ["ü"]], "caption": ["x", "y"]})
    parquet.write_table(table, tmp_path / "set.parquet")
    dataset = open_captions(tmp_path / "set.parquet", image_column="photo", caption_column="alt")
    assert [item.captions for item in dataset] == [("a", "b"), ("ü",)]


def test_a_file_that_the_hugging_face_library_wrote(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the writer comes with the extra vl-core[huggingface]")
    text = datasets.Value("string")
    described = datasets.Features({"photo": datasets.Image(), "caption": datasets.Sequence(text), "id": text})
    rows = {"photo": [{"bytes": encoded(5), "path": None}], "caption": [["a", "ü"]], "id": ["3"]}
    datasets.Dataset.from_dict(rows, features=described).to_parquet(tmp_path / "set.parquet")
    assert shown(open_captions(tmp_path / "set.parquet")) == [("set.parquet/00000", 5, ("a", "ü"))]


def test_a_folder_of_files_named_like_splits(tmp_path):
    for part, shade in (("train-00000-of-00002", 1), ("train-00001-of-00002", 3), ("validation-00000-of-00001", 5)):
        save(tmp_path / "data" / f"{part}.parquet", [shade, shade + 1], caption=["a", "b"])
    (tmp_path / "README.md").write_text("as Hugging Face lays repositories out")
    assert [shade for _, shade, _ in shown(open_captions(tmp_path))] == [1, 2, 3, 4, 5, 6]
    assert open_captions(tmp_path, split="val").names == (
        "validation-00000-of-00001.parquet/00000",
        "validation-00000-of-00001.parquet/00001",
    )
    everything = open_captions(f"{tmp_path}/data/train-*.parquet")
    assert shown(everything.subset([3, 0])) == [
        ("train-00001-of-00002.parquet/00001", 4, ("b",)),
        ("train-00000-of-00002.parquet/00000", 1, ("a",)),
    ]
    assert shown(pickle.loads(pickle.dumps(everything))) == shown(everything)


def test_a_column_of_splits(tmp_path):
    save(tmp_path / "a.parquet", [1, 2], caption=["a", None], split=["train", "test"])
    save(tmp_path / "b.parquet", [3, 4], caption=["c", "d"], split=["test", "train"])
    assert [shade for _, shade, _ in shown(open_captions(tmp_path, split="train"))] == [1, 4]
    with pytest.raises(ValueError, match=r"a\.parquet/00001 has no caption, in column 'caption'"):
        open_captions(tmp_path, split="test")
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        open_captions(tmp_path, split="val")


def test_all_files_share_one_bound_on_memory(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.parquet", [1, 2, 3], caption=["a", "b", "c"])
    dataset = open_captions(tmp_path)
    caches = {id(part._images.cache): part._images.cache for part in dataset._images._images._readers}
    [cache] = caches.values()
    cache.limit = 1
    for item in dataset:
        assert item.image
        assert len(cache) == 1


def test_broken_rows_are_counted(tmp_path):
    images = [encoded(1), b"no image", None, encoded(4)]
    parquet.write_table(pa.table({"image": images, "caption": ["a", "b", "c", " "]}), tmp_path / "set.parquet")
    dataset = open_captions(tmp_path / "set.parquet", skip_broken=True, progress=False)
    assert dataset.names == ("set.parquet/00000",)
    assert [name for name, _ in dataset.skipped] == [f"set.parquet/{row:05d}" for row in (3, 1, 2)]
    parquet.write_table(pa.table({"image": images, "caption": list("abcd")}), tmp_path / "set.parquet")
    with pytest.raises(ImageError, match=r"row 1 of .*set\.parquet is not an image.*skip_broken"):
        open_captions(tmp_path / "set.parquet")[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "is not a whole Parquet file"),
        (lambda path: save(path, [1], title_of=["a"]), "must have a column of captions, .* got image, title_of"),
        (lambda path: save(path, [1], caption=[3]), "has a caption that is no text but int"),
        (lambda path: parquet.write_table(pa.table({"caption": ["a"]}), path), "must have a column 'image' of bytes"),
    ],
)
def test_refused(tmp_path, change, message):
    path = save(tmp_path / "set.parquet", [1], caption=["a"])
    change(path)
    with pytest.raises(ValueError, match=message) as refusal:
        open_captions(path)
    assert "\n" not in str(refusal.value)
