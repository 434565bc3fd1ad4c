"""A file is the old one or the new one, never half of either."""

import os
from pathlib import Path

import pytest
from vl_core.runs import atomic_write


def test_text_and_bytes_arrive(tmp_path):
    with atomic_write(tmp_path / "text") as file:
        file.write("größer\n")
    with atomic_write(str(tmp_path / "bytes"), "wb") as file:
        file.write(b"\x00\r\n")
    assert (tmp_path / "text").read_bytes() == "größer\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\r\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bytes", "text"]


def test_old_content_stands_until_the_block_ends(tmp_path):
    path = tmp_path / "report"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "report"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), atomic_write(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of files are POSIX's")
def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with atomic_write(tmp_path / "atomic") as file:
        file.write("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_other_modes_and_missing_folders_are_errors(tmp_path):
    with pytest.raises(ValueError, match='mode must be "w" or "wb", got \'a\''), atomic_write(tmp_path / "x", "a"):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "absent" / "x"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's disk that is always full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "report"

    def full(temporary: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    monkeypatch.setattr("vl_core._atomic.sync", full)
    with pytest.raises(OSError, match="No space") as caught, atomic_write(path) as file:
        file.write("new")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
