"""Parquet files of encoded images: columns, laziness, and what can be wrong."""

import io
import json
import pickle
import sys
from pathlib import Path

import pytest
from PIL import Image
from vl_core.data import ImageError, ParquetImages, RowGroupCache, open_dataset, open_image_column

pa = pytest.importorskip("pyarrow", reason="pyarrow comes with the extra vl-core[parquet]")
pq = pytest.importorskip("pyarrow.parquet")


def image(level, format="PNG"):
    buffer = io.BytesIO()
    Image.new("L", (4, 3), level).save(buffer, format)
    return buffer.getvalue()


def save(tmp_path, *, row_group_size=2, schema=None, **columns):
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "set.parquet", row_group_size=row_group_size)
    return tmp_path / "set.parquet"


IMAGES = [image(level) for level in range(5)]


DESCRIBED = json.dumps({"info": {"features": {"photo": {"_type": "Image"}, "note": {"_type": "Value"}}}})


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("image", pa.binary()),
        ("image", pa.large_binary()),
        ("image", pa.dictionary(pa.int32(), pa.binary())),
        ("img", pa.binary()),
        ("photo", pa.binary()),
    ],
    ids=str,
)
def test_bytes_are_read_across_row_groups(tmp_path, column, kind):
    schema = pa.schema([(column, kind)], metadata={"huggingface": DESCRIBED})
    dataset = open_dataset(save(tmp_path, schema=schema, **{column: pa.array(IMAGES, kind)}))
    assert [dataset[index][0].getpixel((0, 0)) for index in (4, 0, 3, 1, 2)] == [4, 0, 3, 1, 2]
    assert dataset.names[4] == "set.parquet/00004"
    assert dataset.labels.tolist() == [-1] * 5
    assert dataset.captions is None


def test_the_hugging_face_struct_is_understood(tmp_path):
    rows = [{"bytes": content, "path": f"{index}.png"} for index, content in enumerate(IMAGES)]
    assert open_dataset(save(tmp_path, image=rows))[3][0].getpixel((0, 0)) == 3


def test_labels_captions_and_splits_are_taken_over(tmp_path):
    path = save(
        tmp_path,
        image=IMAGES,
        label=["dog", "cat", None, "cat", "dog"],
        caption=list("abcde"),
        split=["train", "train", "validation", "test", "test"],
    )
    dataset = open_dataset(path, split="test")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.captions == ("d", "e")
    assert dataset[1][0].getpixel((0, 0)) == 4
    assert open_dataset(path, split="val").labels.tolist() == [-1]
    assert len(open_dataset(path)) == 5


def test_class_names_come_from_the_description_in_the_header(tmp_path):
    described = {"info": {"features": {"label": {"names": ["cat", "dog", "emu"], "_type": "ClassLabel"}}}}
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())], metadata={"huggingface": json.dumps(described)})
    dataset = open_dataset(save(tmp_path, schema=schema, image=IMAGES, label=[0, 1, 0, 1, -1]))
    assert dataset.classes == ("cat", "dog", "emu")
    assert dataset.labels.tolist() == [0, 1, 0, 1, -1]


def test_nothing_is_decoded_or_read_before_it_is_asked_for(tmp_path):
    dataset = open_dataset(save(tmp_path, image=[b"no image", *IMAGES[1:]]))
    assert dataset[1][0].getpixel((0, 0)) == 1
    with pytest.raises(ImageError, match=r"row 0 of .*set\.parquet is not an image"):
        dataset[0]


def test_only_as_many_row_groups_are_kept_as_fit(tmp_path):
    images = ParquetImages(save(tmp_path, image=IMAGES), [2, 2, 1], cache=RowGroupCache(1))
    for index in (0, 4, 2, 2, 1, 3):
        assert images[index].getpixel((0, 0)) == index
        assert len(images.cache) == 1
    roomy = ParquetImages(images.path, [2, 2, 1])
    assert [roomy[index].getpixel((0, 0)) for index in range(5)] == list(range(5))
    assert len(roomy.cache) == 3
    copy = pickle.loads(pickle.dumps(roomy))
    assert len(copy.cache) == 0
    assert copy[4].getpixel((0, 0)) == 4


def test_files_share_a_cache_and_read_what_stands_beside_the_images(tmp_path):
    cache, opened = RowGroupCache(1), []
    for shift in (0, 2):
        folder = tmp_path / str(shift)
        folder.mkdir()
        path = save(folder, scan=IMAGES[shift:], text=list("abcde")[shift:])
        opened.append(open_image_column(path, (("note", "text", "scan"), "label"), column="scan", cache=cache))
    assert [found.columns for found in opened] == [{"text": list("abcde")}, {"text": list("cde")}]
    assert [found.images[1].getpixel((0, 0)) for found in opened] == [1, 3]
    assert len(cache) == 1
    with pytest.raises(ValueError, match="must have a column 'photo' of bytes, got scan, text"):
        open_image_column(path, column="photo")


def test_skipping_lists_bad_rows(tmp_path):
    images = [IMAGES[0], None, IMAGES[2][:40], IMAGES[3]]
    dataset = open_dataset(save(tmp_path, image=images, label=[0, 1, 2, 3]), on_error="skip")
    assert dataset.labels.tolist() == [0, 3]
    assert [dataset[index][0].getpixel((0, 0)) for index in range(2)] == [0, 3]
    assert [name for name, _ in dataset.skipped] == ["set.parquet/00001", "set.parquet/00002"]
    assert "holds no bytes" in dataset.skipped[0][1]


@pytest.mark.parametrize(
    ("columns", "cause"),
    [
        ({"photo": IMAGES}, "must have a column 'image' of bytes, got photo; rename it"),
        ({"image": ["a.png"]}, "column 'image' of .* must hold bytes, or a struct with a field 'bytes', got string"),
        ({"image": [{"path": "a.png"}]}, "column 'image' of .* got struct<path: string>"),
        ({"image": IMAGES[:1], "label": [0.5]}, "column 'label' of .* must hold integers or names, got 0.5"),
        ({"image": IMAGES[:1], "caption": [3]}, "column 'caption' of .* must hold text, got 3 in row 0"),
        ({"image": IMAGES[:1], "split": pa.array([None], pa.string())}, "column 'split' of .* got None in row 0"),
    ],
)
def test_what_is_wrong_names_the_column(tmp_path, columns, cause):
    with pytest.raises(ValueError, match=cause):
        open_dataset(save(tmp_path, **columns))


@pytest.mark.parametrize("content", [b"", b"text", b"PAR1" + bytes(40) + b"PAR1"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "set.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.parquet is not a whole Parquet file"):
        open_dataset(tmp_path / "set.parquet")


def test_a_damaged_row_group_is_named_when_it_is_read(tmp_path):
    path = save(tmp_path, image=IMAGES)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"row group 0 of .*set\.parquet cannot be read"):
        open_dataset(path)[0]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = save(tmp_path, image=IMAGES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vl-core\[parquet\]'"):
        open_dataset(path)


def test_a_damaged_label_costs_no_memory():
    """A file of three rows, one of whose labels became 6148914691236517205 when bytes of it were flipped."""
    path = Path(__file__).parent / "damaged/three_rows_mutated.parquet"
    with pytest.raises(ValueError, match=r"column 'label' of .*three_rows_mutated\.parquet must lie below 1,000,000"):
        open_dataset(path)


def test_a_file_that_unfolds_to_more_than_it_could_hold_is_refused(tmp_path, monkeypatch):
    # One image of 60 KB in each of 2,000 rows, of which a dictionary stores one.
    path = save(tmp_path, row_group_size=2000, image=[bytes(60_000)] * 2000)
    assert path.stat().st_size < 10_000
    with pytest.raises(ImageError, match=r"row group 0 of .*set\.parquet cannot be read: more than 67,108,864 bytes"):
        open_dataset(path)[0]
    monkeypatch.setattr("vl_core.data._parquet._ROWS_A_BYTE", 0.1)
    with pytest.raises(ValueError, match=r"set\.parquet is not a whole Parquet file: 2,000 rows are declared"):
        open_dataset(path)


def test_a_column_of_a_name_that_is_there_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(IMAGES), pa.array(IMAGES)], names=["image", "image"])
    pq.write_table(table, tmp_path / "set.parquet")
    with pytest.raises(ValueError, match="must have one column 'image', got 2"):
        open_dataset(tmp_path / "set.parquet")
