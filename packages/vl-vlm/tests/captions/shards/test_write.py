"""Shards that are written hold the same images and captions, in the same bytes each time."""

import tarfile

import pytest
from PIL import Image
from vl_core.data import open_dataset
from vl_vlm import CaptionedImages, open_captions, write_shards

CAPTIONS = [["gray"], ["two\nlines", "  ein Hund über 狗  "], ["same", "same"], ["tab\tinside"], ["last"]]


def captioned(mode="RGB"):
    images = [Image.effect_noise((7, 5), 50).convert(mode) for _ in CAPTIONS]
    images[0] = Image.effect_noise((3, 9), 50)
    return CaptionedImages(images, CAPTIONS, names=[f"a/b.{i}" for i in range(5)], name="noise")


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_images_and_captions_come_back(tmp_path, image_format):
    dataset = captioned()
    paths = write_shards(
        dataset, tmp_path / "new" / "er", samples_per_shard=2, image_format=image_format, progress=False
    )
    assert [path.name for path in paths] == [f"shard-{number:06d}.tar" for number in range(3)]
    found = open_captions(tmp_path / "new/er")
    for ours, theirs in zip(dataset, found, strict=True):
        assert theirs.captions == tuple(caption.strip() for caption in ours.captions)
        assert theirs.image.convert("RGB").tobytes() == ours.image.convert("RGB").tobytes()
    assert found.names[2] == "shard-000001.tar/000000002"


def test_equal_data_sets_give_equal_bytes(tmp_path):
    dataset = CaptionedImages.of(open_dataset("emoji", split="test")).subset(range(12))
    for name in ("one", "two"):
        write_shards(dataset, tmp_path / name, samples_per_shard=5, progress=False)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    with tarfile.open(tmp_path / "one" / "shard-000000.tar") as archive:
        names = archive.getnames()
    assert names[:2] == ["000000000.png", "000000000.txt"]
    assert not [name for name in names if name.endswith(".json")]


def test_other_programs_read_one_caption_from_the_text(tmp_path):
    [path] = write_shards(captioned(), tmp_path, image_format="jpg", progress=False)
    with tarfile.open(path) as archive:
        assert archive.extractfile("000000001.txt").read() == b"two lines"
        assert archive.extractfile("000000003.txt").read() == b"tab inside"
        assert "000000004.json" not in archive.getnames()
        assert {member.mtime for member in archive} == {0}


class Failing(list):
    def __getitem__(self, index):
        if index == 3:
            raise OSError("disk")
        return super().__getitem__(index)


def test_a_failure_leaves_whole_shards_alone(tmp_path):
    images = Failing([Image.new("L", (2, 2))] * 5)
    dataset = CaptionedImages(images, CAPTIONS, names="abcde", name="failing")
    with pytest.raises(OSError, match="disk"):
        write_shards(dataset, tmp_path, samples_per_shard=2, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.tar"]
    assert len(open_captions(tmp_path)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples_per_shard": 0}, "samples_per_shard must be at least 1, got 0"),
        ({"image_format": "gif"}, "image_format must be one of 'png', 'jpg', 'webp', got 'gif'"),
        ({"dataset": captioned().subset([])}, "dataset must hold at least one image"),
        ({}, "folder must hold no shards, .* has 1, the first is old.tar"),
    ],
)
def test_refused(tmp_path, arguments, message):
    (tmp_path / "old.tar").touch()
    with pytest.raises(ValueError, match=message):
        write_shards(**{"dataset": captioned(), "folder": tmp_path} | arguments)
