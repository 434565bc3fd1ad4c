"""Shards as a data set: names, patterns, limits, damage, and copies for the processes of a data loader."""

import io
import pickle
import random

import pytest
from captioned_files import encoded, shown, tar
from PIL import Image
from torch.utils.data import DataLoader
from vl_core.data import ImageError
from vl_vlm import open_captions


@pytest.fixture
def shards(tmp_path):
    """Twelve shards with two samples each, the shades of which count up."""
    for shard in range(12):
        content = {}
        for sample in range(2):
            shade = 10 * shard + sample
            content |= {f"{sample}.png": shade, f"{sample}.txt": f"shade {shade}"}
        tar(tmp_path / f"set-{shard}.tar", content)
    return tmp_path


def shades(dataset):
    return [shade for _, shade, _ in shown(dataset)]


ALL = [10 * shard + sample for shard in range(12) for sample in range(2)]


def test_a_folder_of_shards_in_the_order_of_their_numbers(shards):
    dataset = open_captions(shards)
    assert shown(dataset)[20:22] == [("set-10.tar/0", 100, ("shade 100",)), ("set-10.tar/1", 101, ("shade 101",))]
    assert shades(dataset) == ALL


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("set-{0..11}.tar", ALL),
        ("set-{9..10}.tar", [90, 91, 100, 101]),
        ("{set}-{3,1}.tar", [30, 31, 10, 11]),
        ("set-1*.tar", [10, 11, 100, 101, 110, 111]),
        ("set-[23].tar", [20, 21, 30, 31]),
        ("set-7.tar", [70, 71]),
    ],
)
def test_patterns_and_braces(shards, spec, expected):
    assert shades(open_captions(f"{shards}/{spec}")) == expected


def test_numbers_in_braces_keep_their_zeros(tmp_path):
    for number in ("008", "009", "010"):
        tar(tmp_path / f"{number}.tar", {"a.png": int(number), "a.txt": number})
    assert shades(open_captions(f"{tmp_path}/{{008..010}}.tar")) == [8, 9, 10]


def test_samples_are_read_by_position_in_any_order_and_in_copies(shards):
    dataset = open_captions(shards)
    order = list(range(24))
    random.Random(0).shuffle(order)
    assert shades(dataset.subset(order)) == [ALL[position] for position in order]
    assert shades(pickle.loads(pickle.dumps(dataset))) == ALL


@pytest.mark.slow  # two fresh processes import torch
def test_processes_that_a_data_loader_starts_afresh_read_the_same(shards):
    loader = DataLoader(
        open_captions(shards), batch_size=None, num_workers=2, multiprocessing_context="spawn", persistent_workers=False
    )
    assert shades(loader) == ALL


def test_a_limit_indexes_no_further_shard(shards):
    (shards / "set-3.tar").write_bytes(b"")
    assert shades(open_captions(shards, limit=5)) == ALL[:5]
    with pytest.raises(ValueError, match=r"set-3\.tar is cut short"):
        open_captions(shards, limit=7)


def test_a_corrupt_image_in_a_shard(tmp_path):
    jpeg = encoded(9, "JPEG", (64, 64))
    path = tar(
        tmp_path / "s.tar",
        {"a.jpg": 1, "a.txt": "a", "b.jpg": jpeg[: len(jpeg) // 2], "b.txt": "b", "c.jpg": b"", "c.txt": "c"},
    )
    dataset = open_captions(path)
    assert dataset[0].captions == ("a",)
    with pytest.raises(ImageError, match=r"sample 'b' of .*s\.tar cannot be decoded.*; repair or remove it, or open"):
        dataset[1]
    kept = open_captions(path, skip_broken=True, progress=False)
    assert [item.name for item in kept] == ["s.tar/a"]
    assert [name for name, _ in kept.skipped] == ["s.tar/b", "s.tar/c"]
    assert len(open_captions(path, skip_broken=True, limit=1, progress=False)) == 1


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("1", "PNG")]
)
def test_every_kind_of_color_comes_as_rgb_or_gray(tmp_path, mode, kind):
    buffer = io.BytesIO()
    Image.new("RGBA", (5, 4), (255, 255, 255, 255)).convert(mode).save(buffer, kind)
    ending = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[kind]
    image = open_captions(tar(tmp_path / "s.tar", {f"0.{ending}": buffer.getvalue(), "0.txt": "white"}))[0].image
    assert image.mode in ("RGB", "L")
    assert image.convert("L").getextrema() == (255, 255)


def test_a_shard_cut_in_half(shards):
    path = shards / "set-5.tar"
    path.write_bytes(path.read_bytes()[: 4 * 512 + 700])
    message = r"set-5\.tar is cut short .* 1 whole samples before that place, the last of them '0'.*skip_broken"
    with pytest.raises(ValueError, match=message):
        open_captions(shards)
    dataset = open_captions(shards, skip_broken=True, progress=False)
    assert shades(dataset) == [shade for shade in ALL if shade != 51]
    assert [name for name, _ in dataset.skipped] == ["set-5.tar", "set-5.tar/1"]


def test_a_shard_that_was_replaced_is_no_garbage(shards):
    dataset = open_captions(shards)
    (shards / "set-0.tar").write_bytes((shards / "set-0.tar").read_bytes()[:-512])
    with pytest.raises(ImageError, match="has changed since it was opened"):
        dataset[0]


def test_shards_named_like_splits(tmp_path):
    for name in ("train-000", "train-001", "val-000"):
        tar(tmp_path / f"{name}.tar", {"0.png": 1, "0.txt": name})
    assert len(open_captions(tmp_path)) == 3
    assert [item.captions[0] for item in open_captions(tmp_path, split="train")] == ["train-000", "train-001"]
