"""Sources that cannot be opened, found before PyTorch is imported too: one line that says what to do."""

import json
import subprocess
import sys

import pytest
from captioned_files import encoded, tar, write
from vl_core.data import ImageError, UndividedError
from vl_vlm import check_captions, open_captions

REFUSED = {
    "nothing there": ({}, "gone", "there is no file or folder '.*gone'"),
    "empty folder": ({}, ".", "holds no images"),
    "images alone": ({"a.png": 1, "b.png": 2}, ".", "holds 2 images and no captions; put a .txt beside each, or"),
    "one image without": ({"a.png": 1, "a.txt": "a", "b.png": 2}, ".", r"b\.png has no caption, which would be b\.txt"),
    "text without image": ({"a.png": 1, "a.txt": "a", "b.txt": "b"}, ".", r"b\.txt has no image beside it; repair"),
    "corrupt image": ({"a.png": encoded(1)[:-25], "a.txt": "a"}, ".", r"a\.png cannot be decoded"),
    "an image": ({"a.png": 1}, "a.png", r"must be a folder of images with captions.* got the file .*a\.png"),
    "two captions files": ({"a.csv": "", "b.json": ""}, ".", r"must hold one captions file, got a\.csv, b\.json"),
    "two files named": ({"captions.csv": "", "metadata.csv": ""}, ".", "must hold one captions file, got captions.csv"),
    "out of the folder": ({"in/c.json": '{"../a.png": "a"}', "a.png": 1}, "in", r"inside .*in, got '../a\.png'"),
    "an absolute path": ({"c.json": '{"/etc/passwd": "a"}'}, "c.json", "inside .*, got '/etc/passwd'"),
    "the folder itself": ({"c.json": '{".": "a"}'}, "c.json", "must name images inside"),
    "image missing": ({"a.png": 1, "c.json": '{"a.png": "a", "b.png": "b"}'}, ".", "b.png is named by c.json"),
    "all images missing": ({"c.json": '{"a": "a", "b": "b"}'}, ".", "names 2 images, of which none .* by images="),
    "no JSON": ({"c.json": '{"a.png": "a'}, "c.json", r"c\.json is not JSON"),
    "a number": ({"c.json": "7"}, "c.json", "must hold COCO's images and annotations, .* got int"),
    "empty list": ({"c.json": "[]"}, "c.json", "names no images"),
    "no records": ({"c.json": "[1]"}, "c.json", "must hold records with names, got '1' in record 0"),
    "no file": ({"c.json": '[{"caption": "a"}]'}, "c.json", "have the file of its image as .* in record 0"),
    "empty file": ({"c.json": '[{"file": "", "caption": "a"}]'}, "c.json", "must name a file in record 0, got ''"),
    "no captions": ({"c.json": '[{"file": "a"}]'}, "c.json", "must have captions as .* got file in record 0"),
    "a caption twice": ({"c.json": '{"a": "a", "b": "b", "a": "c"}'}, "c.json", "must name each file once, got 'a'"),
    "no ids": ({"c.json": '{"images": [{"file": "a"}], "annotations": []}'}, "c.json", "must give each image an id"),
    "a number for a caption": ({"a": 1, "c.json": '{"a": 3}'}, "c.json", "no text but int: '3', in c.json"),
    "a line cut short": ({"c.jsonl": '{"file": "a", "text": "b"}\n{"fi'}, "c.jsonl", "line 2 of .* is not JSON"),
    "no header": ({"c.csv": "a.png,a cat\n"}, "c.csv", "must have the file of its image as .* in its header"),
    "other columns": ({"c.csv": "one,two\n1,2\n"}, "c.csv", "have the file of its image as .* got one, two"),
    "a comma too many": ({"c.csv": "file,text\na,b,c\n"}, "c.csv", "2 cells in each row, got 3 in line 2; put"),
    "a quote not closed": ({"c.csv": 'file,text\na,"b\nc,d\n'}, "c.csv", "cannot be read in line 3: unexpected end"),
    "column twice": ({"c.csv": "file,text,text\n"}, "c.csv", "must name each column once"),
    "another encoding": ({"c.csv": b"file,text\na,\xe9\n"}, "c.csv", "holds text that is not UTF-8"),
    "compressed": ({"s-0.tar.gz": b"\x1f\x8b"}, ".", "tar files that are not compressed.* decompress it first"),
    "compressed in fact": ({"s-0.tar": b"\x1f\x8b"}, ".", "is compressed by gzip"),
    "empty shard": ({"s.tar": b""}, ".", "no image with a caption .*s.tar is cut short"),
    "missing shards": ({"s-0.tar": b""}, "s-{0..2}.tar", r"2 of the 3 of .* are missing, the first is .*s-1\.tar"),
    "no shard fits": ({}, "s-*.tar", "no file fits the pattern"),
    "too many": ({}, "s-{0..99999999}.tar", "must stand for at most 100,000 files"),
    "counting down": ({}, "s-{9..0}.tar", "must count up in braces"),
    "two kinds": ({"a.tar": b"", "a.json": ""}, "a.*", "must name files of one kind, got .json, .tar"),
}


@pytest.mark.parametrize(("content", "spec", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(tmp_path, content, spec, message):
    spec = f"{write(tmp_path, content)}/{spec}"
    for call in (lambda: open_captions(spec)[0], lambda: check_captions(spec, "--data")):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as refusal:
            call()
        assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("--data")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: open_captions("emoij"), FileNotFoundError, "did you mean 'emoji'"),
        (lambda: open_captions("fashion"), ValueError, "fashion has no captions"),
        (lambda: open_captions("https://example.org/s.tar"), ValueError, "copy the files to a local folder"),
        (lambda: open_captions("pipe:cat s.tar"), ValueError, "copy the files to a local folder"),
        (lambda: open_captions("emoji", split="dev2"), ValueError, "split must be one of 'train', 'val', 'test'"),
        (lambda: open_captions("emoji", limit=0), ValueError, "limit must be a whole number of at least 1"),
        (lambda: open_captions("emoji", limit=True), ValueError, "limit must be a whole number of at least 1"),
        (lambda: check_captions("emoji", split="x", split_argument="--split"), ValueError, "--split must be one of"),
    ],
)
def test_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_set_without_splits_says_so(tmp_path):
    root = write(tmp_path, {"a.png": 1, "a.txt": "a", "s/0.txt": "zero"})
    tar(root / "s.tar", {"0.png": 1, "0.txt": "zero"})
    for spec in (root / "s.tar", root):
        with pytest.raises(UndividedError, match="split must be left out"):
            open_captions(spec, split="train")
        with pytest.raises(UndividedError, match="--part must be left out"):
            check_captions(spec, split="train", split_argument="--part")
    assert len(open_captions(root / "s.tar", default_split="train")) == 1


def test_skipping_leaves_what_can_be_used(tmp_path):
    root = write(tmp_path, {"a.png": 1, "a.txt": "a", "b.png": 2})
    check_captions(root, skip_broken=True)
    with pytest.raises(ValueError, match=r"--data: .* b\.png has no caption"):
        check_captions(root, "--data")
    (root / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"no image with a caption .*; the first of 2: b\.png has no caption"):
        open_captions(root, skip_broken=True, progress=False)
    (root / "b.txt").write_text("b")
    dataset = open_captions(root)
    with pytest.raises(
        ImageError, match=r"a\.png is not an image .*; repair or remove it, or open .* with skip_broken"
    ):
        dataset[0]


def test_images_folder_that_is_missing(tmp_path):
    write(tmp_path, {"c.json": json.dumps({"a.png": "a"})})
    with pytest.raises(FileNotFoundError, match="images must be the folder of the images"):
        open_captions(tmp_path / "c.json", images=tmp_path / "gone")


def test_the_check_imports_no_torch(tmp_path):
    tar(tmp_path / "s.tar", {"0.png": 1, "0.txt": "zero"})
    write(tmp_path / "files", {"a.png": 1, "captions.csv": "file,caption\na.png,a\n"})
    code = f"""
import sys
from vl_vlm import check_captions
for spec in ("emoji:noto", {str(tmp_path / "s.tar")!r}, {str(tmp_path / "files")!r}):
    check_captions(spec)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
