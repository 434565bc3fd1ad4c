"""One folder keeps one configuration, and anything else found in it is an error that says what is wrong."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from vl_core.runs import RunFolder, atomic_write, read_metrics


@dataclass(frozen=True)
class Optimizer:
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Settings:
    steps: int = 10
    data: Path = Path("images")
    optimizer: Optimizer = field(default_factory=Optimizer)


def test_config_is_written_and_may_be_opened_again(tmp_path):
    run = RunFolder(tmp_path / "a" / "b", Settings())
    expected = {"steps": 10, "data": "images", "optimizer": {"rate": 0.1, "betas": [0.9, 0.95]}}
    assert json.loads((run.path / "config.json").read_text()) == run.config == expected
    assert RunFolder(run.path, Settings()).config == RunFolder(run.path, expected).config
    assert [entry.name for entry in run.path.iterdir()] == ["config.json"]


def test_another_config_is_an_error_naming_the_fields(tmp_path):
    RunFolder(tmp_path, Settings())
    with pytest.raises(ValueError, match="another configuration") as caught:
        RunFolder(tmp_path, {"steps": 20, "data": "images", "optimizer": {"rate": 0.2, "betas": [0.9, 0.95]}, "new": 1})
    message = str(caught.value)
    assert "steps (10 in the folder, now 20)" in message
    assert "optimizer.rate (0.1 in the folder, now 0.2)" in message
    assert "new (only in the new configuration)" in message
    assert "data" not in message
    assert "betas" not in message
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 10


def test_nan_equals_itself_and_true_is_not_one(tmp_path):
    RunFolder(tmp_path, {"limit": float("nan"), "flips": True})
    RunFolder(tmp_path, {"flips": True, "limit": float("nan")})
    with pytest.raises(ValueError, match=r"flips \(True in the folder, now 1\)"):
        RunFolder(tmp_path, {"limit": float("nan"), "flips": 1})


NAMES = [f"layer {number}" for number in range(50)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ([], [3], r"frozen \(\[\] in the folder, now \[3\]\);"),
        (NAMES, NAMES[:-1], r"frozen \(only in the folder: 'layer 49'\);"),
        ([], NAMES, r"frozen \(only in the new .*: 'layer 0', 'layer 1', 'layer 2' and 47 more\);"),
        (NAMES[1:], NAMES[:-1], r"frozen \(only in the folder: 'layer 49', only in the new .*: 'layer 0'\);"),
        (NAMES, NAMES[::-1], r"frozen \(\['layer 0', .{,150}… in the folder, now \['layer 49', .{,150}…\);"),
        ("a" * 1200, "b", r"frozen \('a{999}… in the folder, now 'b'\);"),
    ],
)
def test_long_values_are_named_by_what_differs(tmp_path, old, new, message):
    RunFolder(tmp_path, {"frozen": old})
    with pytest.raises(ValueError, match=message):
        RunFolder(tmp_path, {"frozen": new})


def test_foreign_files_are_an_error_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match=r"no config\.json, so it is no run \(thesis\.tex\)"):
        RunFolder(tmp_path, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_existing_run_is_refused_without_resume(tmp_path):
    RunFolder(tmp_path / "run", {}, resume=False)
    with pytest.raises(FileExistsError, match="holds a run already"):
        RunFolder(tmp_path / "run", {}, resume=False)


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(NotADirectoryError, match="got the file"):
        RunFolder(tmp_path / "run", {})


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_config_that_is_no_object_is_an_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        RunFolder(tmp_path, {})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (5, "config must be a dataclass instance or a mapping, got int"),
        (Settings, "config must be something JSON can keep .* got type"),
        ({"net": {"act": len}}, r"config\['net'\]\['act'\] must be something JSON can keep"),
        ({"sizes": [1, {2: 3}]}, r"config\['sizes'\]\[1\] must have strings as keys .* got 2"),
    ],
)
def test_what_json_cannot_keep_is_an_error_before_anything_is_written(tmp_path, config, message):
    with pytest.raises(TypeError, match=message):
        RunFolder(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_leftovers_of_a_killed_write_are_swept(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with atomic_write(tmp_path / "config.json") as file:
        (run / Path(file.name).name).write_text("{")
    RunFolder(run, {})
    assert [entry.name for entry in run.iterdir()] == ["config.json"]


@pytest.fixture(params=["folder", "link", "name of another form", "digits of another form"])
def foreign(request, tmp_path):
    """Something in ``tmp_path / "run"`` that resembles a leftover."""
    names = {"name of another form": ".mine.tmp", "digits of another form": ".mine.0123456789AB.tmp"}
    path = tmp_path / "run" / names.get(request.param, ".mine.0123456789ab.tmp")
    path.parent.mkdir()
    if request.param == "folder":
        path.mkdir()
    elif request.param == "link":
        (tmp_path / "target").write_text("precious")
        path.symlink_to(tmp_path / "target")
    else:
        path.write_text("precious")
    return path


def test_what_only_resembles_a_leftover_is_foreign(foreign):
    with pytest.raises(FileExistsError, match=r"no config\.json, so it is no run \(\.mine\."):
        RunFolder(foreign.parent, {})
    assert list(foreign.parent.iterdir()) == [foreign]


def test_what_only_resembles_a_leftover_stays_in_a_run(foreign):
    (foreign.parent / "config.json").write_text("{}")
    (foreign.parent / ".config.json.0123456789ab.tmp").write_text("{")
    RunFolder(foreign.parent, {})
    assert {path.name for path in foreign.parent.iterdir()} == {"config.json", foreign.name}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no processes apart")
def test_two_writers_are_kept_apart(tmp_path):
    leftover = tmp_path / ".last.pkl.0123456789ab.tmp"
    with RunFolder(tmp_path, {}) as run:
        leftover.write_text("being written")
        other = RunFolder(tmp_path, {})
        with pytest.raises(BlockingIOError, match="is being written by another process; wait for it or choose another"):
            other.__enter__()
        assert leftover.exists()
        run.log(0, loss=1.0)
    with RunFolder(tmp_path, {}) as run:
        assert run.metrics() == read_metrics(tmp_path) == [{"step": 0, "loss": 1.0}]
    assert not leftover.exists()


OUTLIVED = """
import os, sys, time
from vl_core.runs import RunFolder

with RunFolder(sys.argv[1], {}):
    if not os.fork():
        print("forked", flush=True)
        time.sleep(60)
        os._exit(0)
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no processes apart")
def test_a_worker_that_outlives_its_parent_does_not_hold_the_lock(tmp_path):
    command = [sys.executable, "-c", OUTLIVED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as trainer:
        assert trainer.stdout.readline() == b"forked\n"
        trainer.wait()
        try:
            with RunFolder(tmp_path, {}) as run:
                assert run.metrics() == []
        finally:
            os.killpg(trainer.pid, signal.SIGKILL)
