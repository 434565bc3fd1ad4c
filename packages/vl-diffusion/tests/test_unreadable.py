"""Unreadable images among good ones: left out and listed, with the exit status 1, or refused."""

from __future__ import annotations

import csv
import errno
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from vl_core.data import open_dataset
from vl_diffusion.classification.class_means import class_mean_logits
from vl_diffusion.cli import main
from vl_diffusion.commands import classify, demo
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser
from vl_diffusion.runs.image_collection import gather
from vl_diffusion.runs.reading import read_images
from vl_diffusion.runs.tables import spreadsheet_safe

QUICK = ("--search", "exhaustive", "--draws", "2")


def png(seed, size=(28, 28)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def png_image(seed):
    return Image.open(io.BytesIO(png(seed)))


def bomb():
    """A PNG of a few bytes whose header says 50,000 x 50,000."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BROKEN = {
    # name: (content, reason); no content is a link to a file that does not exist
    "truncated.jpg": (png(0)[:200], "cannot be decoded"),
    "empty.png": (b"", "is empty (0 bytes)"),
    "text.jpg": (b"this is no image", "is not an image in a known format"),
    "bomb.png": (bomb(), "is too large"),
    "dangling.png": (None, "does not exist"),
    "document.webp": (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", "is not an image in a known format"),
}


def break_images(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in BROKEN.items():
        if content is None:
            (folder / name).symlink_to(folder / "gone.png")
        else:
            (folder / name).write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """Forty images in two classes, six of which are broken in different ways."""
    for i in range(34):
        path = tmp_path / "images" / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    break_images(tmp_path / "images" / "cat")
    return tmp_path / "images"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def listed(error):
    """Lines of the list at the end: name and reason."""
    return dict(line.strip().split(": ", 1) for line in error.splitlines() if line.startswith("  "))


def test_six_of_forty_are_left_out_and_listed(folder, pixel_dit_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classify, "draw_classification", lambda *given: None)
    out = tmp_path / "out"
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]
    assert main(arguments) == 1
    assert len(rows(out / "classify.csv")) == 34
    error = capsys.readouterr().err
    assert "6 of 40 images cannot be read and are left out:\n" in error
    found = listed(error)
    assert set(found) == {f"cat/{name}" for name in BROKEN}
    for name, (_, reason) in BROKEN.items():
        assert reason in found[f"cat/{name}"]
        assert str(folder) not in found[f"cat/{name}"]
    assert [row["image"] for row in rows(out / "skipped.csv")] == list(found)
    # The same images are the same results, whatever else lies beside them; and a rerun computes nothing.
    results = (out / "results.jsonl").read_bytes()
    assert main(arguments) == 1
    assert (out / "results.jsonl").read_bytes() == results
    # Once they are gone or repaired, all is well.
    for name in BROKEN:
        (folder / "cat" / name).unlink()
    (folder / "cat" / "text.jpg").write_bytes(png(99))
    capsys.readouterr()
    assert main(arguments) == 0
    assert "34 of 35 images are finished" in capsys.readouterr().err
    assert len(rows(out / "classify.csv")) == 35
    assert not (out / "skipped.csv").exists()


def test_strict_refuses_before_anything_is_computed(folder, pixel_dit_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ClassConditionalDenoiser, "predict", lambda *given: pytest.fail("something was computed"))
    out = tmp_path / "out"
    for command in ("classify", "evaluate", "calibrate", "compare-search", "adapt"):
        model = "fashion_robust" if command == "adapt" else str(pixel_dit_folder)
        classes = [] if command != "adapt" else ["--classes", "cat", "dog", *"abcdefgh"]
        arguments = [command, str(folder), "--model", model, *classes, "--strict", "--out", str(out)]
        assert main(arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("vl-diffusion: error: 6 of 40 images cannot be read: ")
        assert all(f"cat/{name}: " in error for name in BROKEN)
        assert not out.exists()


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "compare-search"])
def test_other_commands_leave_them_out_as_well(command, folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    search = ("--draws", "12", "--survivors", "2", "1") if command == "compare-search" else QUICK
    arguments = [command, str(folder), "--model", str(pixel_dit_folder), *search, "--out", str(out)]
    assert main(arguments) == 1
    assert set(listed(capsys.readouterr().err)) == {f"cat/{name}" for name in BROKEN}
    assert len(rows(out / "skipped.csv")) == 6
    if command == "evaluate":
        assert rows(out / "evaluate.csv")[0]["images"] == "34"
    if command == "compare-search":
        assert {row["images"] for row in rows(out / "search.csv")} == {"34"}


def test_a_broken_training_image_is_passed_over(folder):
    training = open_dataset(folder)
    with_broken, without = (
        class_mean_logits(data, [png_image(3)], ["cat", "dog"])
        for data in (
            training,
            training.subset(i for i, name in enumerate(training.names) if name.removeprefix("cat/") not in BROKEN),
        )
    )
    np.testing.assert_array_equal(with_broken, without)
    broken = (i for i, name in enumerate(training.names) if name.removeprefix("cat/") in BROKEN)
    with pytest.raises(ValueError, match="class 'cat' has no training image"):
        class_mean_logits(training.subset(broken), [png_image(3)], ["cat"])


def test_adapt_leaves_them_out_as_well(tmp_path, capsys):
    for i, name in enumerate(("trouser", "bag", "sandal", "coat")):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / f"{i}.png").write_bytes(png(i))
    (tmp_path / "images" / "bag" / "broken.png").write_bytes(b"no image")
    arguments = ["adapt", str(tmp_path / "images"), "--methods", "source", "--corruptions", "contrast"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "bag/broken.png" in listed(capsys.readouterr().err)


def test_a_broken_example_does_not_keep_the_demo_from_starting(folder, pixel_dit_folder, monkeypatch, capsys):
    shown = []

    def build_page(*given, examples, **settings):
        shown.extend(examples)
        raise ValueError("not served in this test")

    monkeypatch.setattr(demo, "build_page", build_page)
    names = [str(folder / "cat" / name) for name in ("1.png", "text.jpg")]
    assert main(["demo", "--model", str(pixel_dit_folder), "--examples", *names]) == 2
    assert len(shown) == 1
    assert list(listed(capsys.readouterr().err)) == names[1:]


def test_broken_images_alone_are_an_error(pixel_dit_folder, tmp_path, capsys):
    break_images(tmp_path / "images")
    out = tmp_path / "out"
    assert main(["classify", str(tmp_path / "images"), "--model", str(pixel_dit_folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vl-diffusion: error: images: no image can be read: bomb.png: is too large")
    assert error.count("\n") == 1
    assert not out.exists()


def test_many_are_counted_and_kept_in_a_file(pixel_dit_folder, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for i in range(25):
        (images / f"{i}.png").write_bytes(b"")
    (images / "good.png").write_bytes(png(0))
    arguments = ["classify", str(images), "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]
    assert main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-12] == "25 of 26 images cannot be read and are left out:"
    assert lines[-1] == f"  and 15 more, see {out / 'skipped.csv'}"
    assert len(rows(out / "skipped.csv")) == 25


def test_a_listed_file_may_be_missing_but_not_one_on_the_command_line(pixel_dit_folder, tmp_path, monkeypatch, capsys):
    good, gone, out = tmp_path / "good.png", tmp_path / "gone.png", tmp_path / "out"
    good.write_bytes(png(0))
    names = io.TextIOWrapper(io.BytesIO(f"{good}\n{gone}\n".encode()))
    monkeypatch.setattr(sys, "stdin", names)
    settings = ["--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]
    assert main(["classify", "-", *settings]) == 1
    assert listed(capsys.readouterr().err) == {str(gone): "does not exist; check the path"}
    assert main(["classify", str(good), str(gone), *settings]) == 2
    assert f"there is no file or folder {str(gone)!r}" in capsys.readouterr().err


def test_rows_of_files_are_left_out_as_well(tmp_path):
    content = [png(0), b"", None, png(1)[:60], png(2)]
    parquet.write_table(pa.table({"image": pa.array(content, pa.binary())}), tmp_path / "rows.parquet")
    read = read_images(gather([str(tmp_path / "rows.parquet")]))
    assert read.places == [0, 4]
    reasons = {one.name: one.reason for one in read.skipped}
    assert list(reasons) == [f"rows.parquet/{i:05d}" for i in (1, 2, 3)]
    assert "is empty" in reasons["rows.parquet/00001"]
    assert "holds no bytes" in reasons["rows.parquet/00002"]


def test_a_file_that_may_not_be_read_is_left_out(tmp_path, monkeypatch):
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for name in names:
        Path(name).write_bytes(png(0))
    open_file = Path.open

    def refused(path, *given, **settings):
        if path.name == "b.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, *given, **settings)

    monkeypatch.setattr(Path, "open", refused)
    (one,) = read_images(gather(names)).skipped
    assert (one.name, one.reason) == (names[1], "Permission denied")


def test_images_of_any_shape_and_kind_are_read(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "pixel.png")
    Image.new("RGB", (1, 4000), (9, 8, 7)).save(tmp_path / "strip.png")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(tmp_path / "deep.png")
    frames = [Image.new("P", (9, 9), i) for i in range(3)]
    for suffix in ("gif", "webp"):
        frames[0].save(tmp_path / f"frames.{suffix}", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (9, 9)).save(tmp_path / "print.jpg")
    read = read_images(gather([str(tmp_path)]), strict=True)
    assert len(read.collection) == 6


def test_equal_images_are_named_with_labels_that_differ(pixel_dit_folder, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    for name, seed in (("cat/a.png", 0), ("cat/b.png", 1), ("dog/c.png", 0), ("dog/d.png", 2), ("dog/e.png", 2)):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(png(seed))
    # The same pixels in another format.
    Image.open(images / "dog/d.png").save(images / "dog/f.bmp")
    assert main(["evaluate", str(images), "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]) == 0
    error = capsys.readouterr().err
    assert "3 images have the pixels of another and the same results:\n" in error
    assert "\n  cat/a.png (cat) = dog/c.png (dog), with different labels\n" in error
    assert "\n  dog/d.png = dog/e.png = dog/f.bmp\n" in error
    assert len((out / "results.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["two\nlines.png", "=1+1.png", "caf\u00e9 \u732b.png", "a: b.png"])
def test_names_of_any_kind_are_listed_and_written(name, pixel_dit_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.png").write_bytes(png(0))
    for i, other in enumerate((name, f"{name}.gif")):
        (tmp_path / other).write_bytes(png(1) if i else b"no image")
    assert main(["classify", "good.png", name, f"{name}.gif", "--model", str(pixel_dit_folder), *QUICK]) == 1
    shown = name.replace("\n", "\\n")
    assert f"\n  {shown}: is not an image in a known format" in capsys.readouterr().err
    safe = f"./{name}" if name.startswith("=") else name
    out = tmp_path / "vl-diffusion-classify"
    assert [row["image"] for row in rows(out / "skipped.csv")] == [safe]
    written = [row["image"] for row in rows(out / "classify.csv")]
    assert written[1] == f"{safe}.gif"
    # What is written is still the path of the image.
    assert (tmp_path / written[1]).exists()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=A1", "'=A1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("+x", "'+x"),
        ("-1", "-1"),
        ("+2.5", "+2.5"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_class_is_no_formula(text, safe):
    assert spreadsheet_safe(text) == safe
