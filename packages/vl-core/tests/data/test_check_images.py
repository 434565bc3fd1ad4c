"""Images of a command are looked at before PyTorch is imported."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from vl_core.data import ImageFault, UndividedError, check_images, check_source, refuse_faults


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three readable images of two classes and one that is none, one file without an image, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/cat/1.png", "photos/cat/2.png", "photos/dog/3.png", "one.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), 7).save(path)
    (tmp_path / "photos/dog/text.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.heic").touch()
    x = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "parts.npz", x=x, y=[0, 1], classes=["cat", "dog"], split=["train", "later"])
    np.savez(tmp_path / "wrong.npz", z=x)
    return tmp_path


def test_images_that_can_be_used_pass(folder):
    check_images([])
    check_images(["photos", "one.png", "notes.txt", "fashion", "parts.npz", "hf:owner/name"])
    check_images(["photos"], labeled=True, limit=2)
    check_images(["photos"], default_split="test", strict=True, exclude=folder / "photos/dog")
    check_images(["parts.npz"], split="later", strict=True)
    check_images(["fashion"], split="test", strict=True, limit=3)


REFUSED = {
    "text": (["notes.txt"], {}, "images: no image can be read: notes.txt: is not an image in a known format"),
    "text without a label": (["notes.txt"], {"labeled": True}, "images: no image can be read: notes.txt: is not"),
    "no label": (["one.png"], {"labeled": True}, "images must have labels, got none; give a folder with a subfolder"),
    "no file": (["one.png"], {"files": False}, "images must be a name .*, got the file one.png"),
    "empty": (["empty"], {"default_split": "test"}, "images: empty holds no images; looked for files named"),
    "empty, with a split": (["empty"], {"split": "test"}, "images: empty holds no images; looked for files named"),
    "passed over": (["parts"], {}, "images: parts holds no images; .*; passed over 1 named .heic"),
    "strict": (
        ["photos"],
        {"strict": True},
        "1 of 4 images cannot be read: dog/text.png: is not .*; leave out --strict",
    ),
    "strict beside others": (["hf:a/b", "notes.txt"], {"strict": True}, "1 of 1 images cannot be read: notes.txt: is"),
    "undivided": (["photos"], {"split": "x", "split_argument": "--part"}, "--part must be left out for photos, .* 'x'"),
    "split": (["parts.npz"], {"split": "test"}, "split must be one of 'train', 'later' for parts.npz, .* got 'test'"),
    "built-in split": (["fashion"], {"split": "val"}, "split must be one of 'train', 'test' for fashion, .* 'val'"),
    "archive": (["wrong.npz"], {}, "images: wrong.npz must hold an array 'x' or 'images'"),
    "name": (["fashon"], {}, "images must be a name .*, got 'fashon'; did you mean 'fashion'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_images_that_cannot_be_used_are_refused(case, folder):
    specs, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        check_images(specs, **options)
    assert isinstance(caught.value, UndividedError) == (case == "undivided")


def test_a_pattern_and_a_long_name_are_no_files(folder):
    with pytest.raises(FileNotFoundError, match=r"'photos/\*\.png'; a pattern is expanded by the shell"):
        check_source("photos/*.png", "images")
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder '\./x+'"):
        check_source(f"./{'x' * 300}")


def test_only_the_first_process_looks(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    check_images(["notes.txt"])


def test_faults_are_listed_and_counted():
    faults = [ImageFault.of(f"{number}.png", ValueError(f"in/{number}.png is\nempty")) for number in range(12)]
    refuse_faults(faults, 13)
    refuse_faults([], 0)
    with pytest.raises(
        ValueError, match=r"^images: no image can be read: 0\.png: is empty; .*; 9\.png: is empty; and 2"
    ):
        refuse_faults(faults, 12)


def test_looking_imports_no_torch(folder):
    program = (
        "import sys; from vl_core.data import check_images; check_images(sys.argv[1:]); print('torch' in sys.modules)"
    )
    looked = [sys.executable, "-c", program, "photos", "parts.npz", "fashion", "one.png"]
    assert subprocess.run(looked, capture_output=True, text=True, check=True).stdout == "False\n"
