"""Class names on the command line and in files."""

from __future__ import annotations

import csv
import json

import pytest
from vl_diffusion.cli import main
from vl_diffusion.commands.settings.class_names import class_names, read_class_names


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ndog\nice cream\n",
        b"cat\r\ndog\r\nice cream",
        b"cat\rdog\rice cream\r",
        b"\xef\xbb\xbfcat\ndog\nice cream\n",
        b"\n  cat\n\n\tdog \n \nice cream\n\n",
    ],
    ids=["plain", "Windows", "old Mac", "byte order mark", "blank lines"],
)
def test_a_file_has_a_name_a_line(content, tmp_path):
    (tmp_path / "names.txt").write_bytes(content)
    assert read_class_names(tmp_path / "names.txt") == ("cat", "dog", "ice cream")


def test_names_and_files_may_be_mixed(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("caf\u00e9\n@home\n# 1\na\u2028b\n", encoding="utf-8")
    assert class_names(("dog", f"@{path}", "@@twice", "@@")) == (
        "dog",
        "caf\u00e9",
        "@home",
        "# 1",
        "a\u2028b",
        "@twice",
        "@",
    )
    assert class_names(None) is None


BAD = {
    "missing": (None, FileNotFoundError, "no such file; a name that begins with @ is written with two, @@"),
    "empty": (b"", ValueError, "the file holds no class names; write one per line"),
    "blank": (b"\xef\xbb\xbf\n \r\n\n", ValueError, "the file holds no class names"),
    "repeated": (b"cat\ndog\n\ncat\ndog\ncat\n", ValueError, "got 'cat' on lines 1, 4, 6; 'dog' on lines 2, 5"),
    "UTF-16": ("cat\ndog".encode("utf-16"), ValueError, "line 1 is not UTF-8; save the file as UTF-8 text"),
    "Latin-1": (b"cat\ncaf\xe9\n", ValueError, "line 2 is not UTF-8"),
    "binary": (b"cat\nd\0og\n", ValueError, "line 2 holds a NUL byte"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_will_not_do_is_one_line(case, tmp_path, capsys):
    content, error, message = BAD[case]
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        class_names((f"@{path}",))
    assert str(caught.value).startswith(f"--classes @{path}: ")
    for command in ("classify", "evaluate", "calibrate", "compare-search", "adapt", "demo"):
        assert main([command, "--classes", f"@{path}"]) == 2
        assert capsys.readouterr().err == f"vl-diffusion: error: {caught.value}\n"


def test_an_at_sign_alone_lacks_its_file():
    with pytest.raises(ValueError, match="--classes @ lacks the name of a file after the @, as in"):
        class_names(("cat", "@"))


def test_a_folder_is_no_file_of_names(tmp_path):
    with pytest.raises(ValueError, match="must be a file with a class name per line"):
        class_names((f"@{tmp_path}",))


def test_a_command_takes_the_names_of_a_file(sd_folder, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("dog\ncat\nbird\n")
    out = tmp_path / "out"
    given = ["classify", "fashion", "--limit", "1", "--model", str(sd_folder), "--draws", "2", "--search", "exhaustive"]
    given += ["--out", str(out)]
    assert main([*given, "--classes", f"@{tmp_path / 'names.txt'}"]) == 0
    with (out / "classify.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns[-3:] == ["error: dog", "error: cat", "error: bird"]
    # The names count, not the file.
    assert json.loads((out / "config.json").read_text())["classes"] == ["dog", "cat", "bird"]
    assert main([*given, "--classes", "dog", "cat", "bird"]) == 0
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    assert main([*given, "--classes", f"@{tmp_path / 'names.txt'}"]) == 2
    assert "another configuration: classes" in capsys.readouterr().err
