"""Values are checked by the marks of their types, before anything heavy is imported."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from vl_core.cli import Count, DeviceName, FolderPath, Range, RunPath, Seed, check_values


@dataclass(frozen=True)
class Inner:
    rate: Annotated[float, Range(above=0)] = 1.0


@dataclass(frozen=True)
class Settings:
    limit: Count | None = None
    keep: tuple[Count, ...] | None = (4, 2)
    seed: Seed = 0
    share: tuple[Annotated[float, Range(0, below=1)], Annotated[float, Range(0, below=1)]] = (0.0, 0.5)
    batch_size: Annotated[int, Range(1, 10)] = 3
    free: int = -5
    device: DeviceName = "auto"
    inner: Inner = field(default_factory=Inner)
    out: FolderPath | None = None
    run: RunPath | None = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0}, "--limit must be at least 1, got 0"),
        ({"keep": (3, 0)}, "--keep must be at least 1, got 0"),
        ({"seed": -1}, "--seed must be from 0 to 2147483647, got -1"),
        ({"seed": 2**31}, "--seed must be from 0 to 2147483647, got 2147483648"),
        ({"share": (0.5, 1.0)}, "--share must be at least 0 and below 1, got 1.0"),
        ({"share": (float("nan"), 0.5)}, "--share must be at least 0 and below 1, got nan"),
        ({"batch_size": 11}, "--batch-size must be from 1 to 10, got 11"),
        ({"inner": Inner(0.0)}, "--inner.rate must be above 0, got 0.0"),
        ({"inner": Inner(float("inf"))}, "--inner.rate must be above 0, got inf"),
        ({"device": "toaster"}, "--device must be auto, cpu, cuda, cuda:1, mps or another device, got 'toaster'"),
        ({"device": "cdua"}, "got 'cdua'; did you mean cuda?"),
        ({"device": "cuda:x"}, "got 'cuda:x'"),
        ({"device": "cuda:99"}, "--device must be auto or a device of this machine"),
    ],
)
def test_a_wrong_value_is_refused_with_its_option(change, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        check_values(Settings(**change))
    assert message in str(caught.value)
    assert str(caught.value).startswith("--")


def test_good_values_pass(tmp_path):
    check_values(Settings())
    check_values(Settings(limit=1, keep=None, seed=2**31 - 1, device="cpu", out=tmp_path, run=tmp_path / "a" / "b"))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "results.csv").touch()
    check_values(Settings(run=tmp_path))
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(tmp_path / "gone")
    for out, got in (
        (file, f"got {file}, which is a file"),
        (file / "a" / "b", f"got {file}/a/b, and {file} is a file"),
        (link, f"got {link}, which is no folder"),
    ):
        with pytest.raises(NotADirectoryError, match=f"^--out must be a folder, {got}; choose another name"):
            check_values(Settings(out=out))
    with pytest.raises(OSError, match=r"--out must be a folder that can be made, got a name of 300 letters"):
        check_values(Settings(out=tmp_path / ("x" * 300)))
    with pytest.raises(FileExistsError, match=r"--run: .* holds files but no config.json"):
        check_values(Settings(run=tmp_path))


@contextmanager
def somebody():
    """Somebody whom write protection stops; the administrator is not stopped."""
    user = os.geteuid()
    if not user:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_a_folder_that_is_write_protected_is_refused():
    # Not in pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "place")
        place.mkdir()
        place.chmod(0o555)
        Path(name).chmod(0o755)
        with somebody(), pytest.raises(PermissionError, match="place is write-protected; choose another folder"):
            check_values(Settings(out=place / "out"))
