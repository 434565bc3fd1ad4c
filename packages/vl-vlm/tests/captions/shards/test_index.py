"""Samples of a tar file, whole or damaged, whatever its members are called."""

import io
import json
import tarfile

import pytest
from captioned_files import encoded, tar
from vl_vlm.captions.shards.index import index_shard

PAIR = {"0.png": 1, "0.txt": "zero"}
SAMPLES = {
    f"{number}.{ending}": value for number in range(4) for ending, value in (("png", number), ("txt", f"{number}"))
}


def captions(path):
    return {sample.key: sample.captions for sample in index_shard(path).samples}


def test_a_sample_is_what_has_one_key(tmp_path):
    content = {
        "b.jpg": 1,
        "a/x.JPEG": 2,
        "b.txt": "one\ntwo\n",
        "b.seg.png": 3,
        "a/x.json": json.dumps({"caption": "from json", "url": "x"}),
        "c.webp": encoded(4, "WEBP"),
        "c.json": json.dumps({"captions": ["all", "of them"], "caption": "x"}),
        "c.txt": "the first",
        "c.cls": "7",
        "../../d.png": 5,
        "../../d.txt": "outside",
        ".hidden.png": 6,
        "README": "no key",
        "d.pyd": b"\x80\x04N.",
    }
    path = tar(tmp_path / "s.tar", content)
    assert captions(path) == {
        "b": ["one", "two"],
        "a/x": ["from json"],
        "c": ["all", "of them"],
        "../../d": ["outside"],
    }
    assert index_shard(path).skipped == []
    for sample in index_shard(path).samples:
        assert path.read_bytes()[sample.offset :][: sample.size] in map(encoded, (1, 2, 5)) or sample.key == "c"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_each_format(tmp_path, form):
    key = "ordner/" + "lang" * 20 if form == tarfile.USTAR_FORMAT else "ordner/über" + "lang" * 60
    assert captions(tar(tmp_path / "s.tar", {f"{key}.png": 1, f"{key}.txt": "ü"}, format=form)) == {key: ["ü"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"0.png": 1}, "has an image and no caption, neither .txt nor .json"),
        ({"0.png": 1, "0.json": "{}"}, "has no caption"),
        ({"0.png": 1, "0.json": "[]"}, "has no caption"),
        ({"0.png": 1, "0.json": "{"}, "cannot be read: its .json is not JSON"),
        ({"0.png": 1, "0.json": '{"caption": 3}'}, "has a caption that is no text but int: '3'"),
        ({"0.png": 1, "0.json": '{"caption": "\\ud800"}'}, "half a character"),
        ({"0.png": 1, "0.txt": " \n"}, "has no caption"),
        ({"0.png": 1, "0.txt": b"\xff"}, "holds text that is not UTF-8 (byte 0)"),
        ({"0.txt": "zero"}, "has a caption and no image"),
        ({"0.png": 1, "0.jpg": 2, "0.txt": "zero"}, "has 2 images (png, jpg)"),
        ([*PAIR.items(), ("0.txt", "again")], "has two .txt; each key may stand once in a shard"),
        ([*PAIR.items(), ("0.png", 2)], "has 2 images (png, png)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sample_that_cannot_be_used_is_counted(tmp_path, content, reason):
    items = content.items() if isinstance(content, dict) else content
    index = index_shard(tar(tmp_path / "s.tar", [*items, ("1.png", 1), ("1.txt", "one")]))
    assert [sample.key for sample in index.samples] == ["1"]
    [(key, cause)] = index.skipped
    assert key == "0"
    assert reason in cause


def test_links_are_not_followed(tmp_path):
    link = tarfile.TarInfo("0.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    index = index_shard(tar(tmp_path / "s.tar", {"0.png": link, "0.txt": "zero"}))
    assert index.samples == []
    assert index.skipped == [("0", "has a .png that is a link or no plain file; pack the file itself")]


def cut_points():
    """Every kind of place in a shard of four samples, whose members lie in blocks of 512 bytes."""
    size = len(encoded(0))
    blocks = 2 * (1 + -(-size // 512))  # of header, content and padding of an image, and the same for a text
    return {
        "within an image": 4 * 512 + 512 + size // 2,
        "within a header": 4 * 512 + 100,
        "behind a header": 4 * 512 + 512,
        "behind an image": 4 * 512 + 1024,
        "behind a sample": 4 * 512,
        "within a padding": 4 * 512 + 512 + size + 3,
    } | ({} if blocks == 4 else {"unexpected size of members": 0})


@pytest.mark.parametrize("place", cut_points())
def test_the_samples_before_a_cut_stay(tmp_path, place):
    path = tar(tmp_path / "s.tar", SAMPLES)
    path.write_bytes(path.read_bytes()[: cut_points()[place]])
    index = index_shard(path)
    assert [sample.key for sample in index.samples] == ["0"]
    key, reason = index.skipped[0]
    assert key == ""
    assert "cut short" in reason
    assert "1 whole samples before that place, the last of them '0'; fetch it again" in reason


def test_every_cut_is_seen(tmp_path):
    path, cut = tar(tmp_path / "s.tar", SAMPLES), tmp_path / "cut.tar"
    content = path.read_bytes()
    end = 16 * 512
    assert not any(content[end:])
    for length in range(0, end, 61):
        cut.write_bytes(content[:length])
        index = index_shard(cut)
        assert index.skipped, length
        assert len(index.samples) <= length // 2048 + 1


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"no tar at all" * 100])
def test_what_is_no_tar_file_has_no_sample(tmp_path, content):
    (tmp_path / "s.tar").write_bytes(content)
    index = index_shard(tmp_path / "s.tar")
    assert index.samples == []
    assert "cut short or damaged behind byte 0" in index.skipped[0][1]


def test_damage_within_is_seen(tmp_path):
    path = tar(tmp_path / "s.tar", SAMPLES)
    content = bytearray(path.read_bytes())
    content[4 * 512 + 10] ^= 255
    path.write_bytes(content)
    index = index_shard(path)
    assert [sample.key for sample in index.samples] == ["0"]
    assert "is damaged at byte 2,048, where a member should begin" in index.skipped[0][1]


def test_shards_joined_end_to_end_are_not_half_read_in_silence(tmp_path):
    path = tar(tmp_path / "s.tar", SAMPLES)
    path.write_bytes(path.read_bytes() * 2)
    index = index_shard(path)
    assert len(index.samples) == 4
    assert "goes on behind the mark of its end" in index.skipped[0][1]


def test_damaged_bytes_raise_nothing_else(tmp_path):
    path, size = tar(tmp_path / "s.tar", SAMPLES, format=tarfile.PAX_FORMAT), 16 * 512
    content = path.read_bytes()
    for place in range(0, size, 37):
        damaged = bytearray(content)
        damaged[place] = (damaged[place] + 131) % 256
        path.write_bytes(damaged)
        index = index_shard(path)
        assert len(index.samples) <= 4
        assert index.size == len(content)


def test_a_negative_size_does_not_turn_the_reader_around(tmp_path):
    member = tarfile.TarInfo("1.png")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # minus 1024 as base 256
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    content = tar(tmp_path / "s.tar", PAIR).read_bytes()
    (tmp_path / "s.tar").write_bytes(content[:2048] + bytes(header) + content[2048:])
    index = index_shard(tmp_path / "s.tar")
    assert [sample.key for sample in index.samples] == ["0"]
    assert index.skipped


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_shards_are_refused(tmp_path, mode):
    with tarfile.open(tmp_path / "s.tar", mode) as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(ValueError, match=r"is compressed by .* decompress it first"):
        index_shard(tmp_path / "s.tar")
