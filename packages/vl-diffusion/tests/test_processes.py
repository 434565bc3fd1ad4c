"""Work that is shared, killed, or out of disk space ends with the numbers of one quiet process."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from torch import distributed
from vl_core.runs.append_only import AppendOnlyFile
from vl_diffusion.cli import main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and limits of POSIX")

HERE = Path(__file__).parent
# On a machine without GPUs, too: `--cpu` starts a single process unless MPI starts the others.
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
]
# An image is evaluated in four batches of its own: they are the same whatever was finished before, to the last bit.
ALONE = ("--search", "exhaustive", "--draws", "4", "--batch-size", "10")


def launched(*arguments):
    """Two processes of the command; again where another one took the free port that the launcher had found."""
    for _ in range(3):
        done = subprocess.run(
            [*LAUNCH, "-m", "vl_diffusion", *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if "EADDRINUSE" not in done.stderr:
            break
    return done


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 20 images in two classes."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("images")
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for i in range(10):
            Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(folder / name / f"{i}.png")
    return folder


class Commands:
    """Commands in processes of their own, all copies of one that has imported everything."""

    def __init__(self, folder):
        self.said = folder / "said"
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "commands_on_demand.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def start(self, *arguments, **settings):
        """Start one and return its process id."""
        command = {"arguments": list(map(str, arguments)), "said": str(self.said), **settings}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        """Its exit status, minus the signal if one ended it, and its last line."""
        status = int(self.process.stdout.readline())
        return status, self.said.read_text().splitlines()[-1:]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    started = Commands(tmp_path_factory.mktemp("commands"))
    yield started
    started.close()


def table(out):
    with (out / "classify.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def finished(out):
    return sum(len(AppendOnlyFile(path).lines()) for path in out.glob("results*.jsonl"))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def assert_row_for_row(found, expected):
    """Errors within 1e-5, predictions and evaluations exactly."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for column in ("image", "true", "predicted", "evaluations"):
            assert one[column] == other[column]
        for column in (name for name in other if name.startswith("error: ")):
            assert float(one[column]) == pytest.approx(float(other[column]), rel=1e-5)


@pytest.mark.slow
def test_two_processes_are_one_row_for_row(images, pixel_dit_folder, tmp_path):
    arguments = ["classify", str(images), "--model", str(pixel_dit_folder), "--limit", "13", "--draws", "12", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    launch = launched(*arguments, str(tmp_path / "two"))
    assert launch.returncode == 0, launch.stderr
    assert launch.stdout.count("of 13 correct") == 1
    shares = [len(AppendOnlyFile(tmp_path / "two" / name).lines()) for name in ("results.jsonl", "results-1.jsonl")]
    assert shares == [7, 6]
    assert_row_for_row(table(tmp_path / "two"), table(tmp_path / "one"))


@pytest.mark.slow
def test_two_processes_leave_out_the_images_that_one_does(images, pixel_dit_folder, tmp_path, capsys):
    folder = tmp_path / "images"
    for i in range(9):
        path = folder / "cat" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Both processes have good ones and bad ones.
        path.write_bytes(b"no image" if i in (2, 3, 6) else (images / "cat" / f"{i}.png").read_bytes())
    arguments = ["classify", str(folder), "--model", str(pixel_dit_folder), *ALONE, "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 1
    listed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  cat/")]
    launch = launched(*arguments, str(tmp_path / "two"))
    assert launch.returncode == 1
    assert [line for line in launch.stderr.splitlines() if line.startswith("  cat/")] == listed, launch.stderr
    assert len(listed) == 3
    assert (tmp_path / "two" / "skipped.csv").read_bytes() == (tmp_path / "one" / "skipped.csv").read_bytes()
    assert_row_for_row(table(tmp_path / "two"), table(tmp_path / "one"))
    refused = launched(*arguments, str(tmp_path / "strict"), "--strict")
    assert refused.returncode != 0
    assert "3 of 9 images cannot be read: cat/2.png: " in refused.stderr
    assert not (tmp_path / "strict").exists()


@pytest.mark.slow
def test_a_process_that_fails_ends_the_launch_and_one_finishes_what_two_began(
    images, pixel_dit_folder, tmp_path, monkeypatch, capsys
):
    names = [f"{images}/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)]
    copies = [tmp_path / f"{i}.png" for i in range(len(names))]
    for name, copy in zip(names, copies, strict=True):
        copy.write_bytes(Path(name).read_bytes())
    # Eight images are read ahead; the second process comes to its last one later.
    last = copies[-1]
    script, out = tmp_path / "slowly.py", tmp_path / "out"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(HERE)!r})\nfrom commands_on_demand import main, slow_down\n"
        "slow_down(0.1)\nsys.exit(main())\n"
    )
    arguments = ["classify", "-", "--model", str(pixel_dit_folder), *ALONE, "--strict", "--out", str(out)]
    with (tmp_path / "errors").open("w+") as errors:
        launch = subprocess.Popen(
            [*LAUNCH, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        launch.stdin.write("\n".join(map(str, copies)) + "\n")
        launch.stdin.close()
        wait_for(lambda: (out / "results-1.jsonl").exists() and finished(out), 300)
        whole = last.read_bytes()
        last.write_bytes(b"no image")
        began = time.monotonic()
        assert launch.wait(120) != 0
        # Two seconds of work, and a little for the launcher to notice; on a busy machine more.
        assert time.monotonic() - began < 60
        errors.seek(0)
        said = [line for line in errors.read().splitlines() if "vl-diffusion: error:" in line]
    assert any(f"{last} is not an image" in line and "are kept in" in line for line in said), said
    kept = finished(out)
    assert 0 < kept < len(names)
    assert not (out / "classify.csv").exists()

    last.write_bytes(whole)
    listed = io.TextIOWrapper(io.BytesIO(("\0".join(map(str, copies)) + "\0").encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    assert main(arguments) == 0
    assert f"{kept} of {len(names)} images are finished" in capsys.readouterr().err
    assert main(["classify", *names, *arguments[2:-1], str(tmp_path / "quiet")]) == 0
    expected = [row | {"image": str(copy)} for row, copy in zip(table(tmp_path / "quiet"), copies, strict=True)]
    assert_row_for_row(table(out), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "kills", "count"),
    [(ALONE, 5, 20), (("--draws", "12", "--batch-size", "16"), 2, 12)],
    ids=["exhaustive", "racing"],
)
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(
    search, kills, count, images, pixel_dit_folder, tmp_path, commands
):
    arguments = ["classify", images, "--limit", count, "--model", pixel_dit_folder, *search, "--out"]
    commands.start(*arguments, tmp_path / "quiet")
    assert commands.wait()[0] == 0
    out = tmp_path / "killed"
    for attempt in range(kills):
        before = finished(out)
        pid = commands.start(*arguments, out, seconds=0.05)
        wait_for(lambda before=before: finished(out) > before)
        time.sleep(random.Random(attempt).uniform(0, 0.3))
        os.kill(pid, signal.SIGKILL)
        assert commands.wait()[0] == -signal.SIGKILL
        assert not (out / "classify.csv").exists()
    # What a kill or a lost machine may leave of a line.
    with (out / "results.jsonl").open("a") as file:
        file.write('{"image_ids": 12')
    kept = finished(out)
    commands.start(*arguments, out)
    assert commands.wait()[0] == 0
    assert kills <= kept < finished(out) == count
    if search is ALONE:
        assert (out / "classify.csv").read_bytes() == (tmp_path / "quiet" / "classify.csv").read_bytes()
        assert parquet.read_table(out / "results.parquet").equals(
            parquet.read_table(tmp_path / "quiet" / "results.parquet"), check_metadata=True
        )
        # The same lines, in the order in which they were finished.
        lines = [sorted(AppendOnlyFile(folder / "results.jsonl").lines()) for folder in (out, tmp_path / "quiet")]
        assert lines[0] == lines[1]
    else:
        assert_row_for_row(table(out), table(tmp_path / "quiet"))


@pytest.mark.slow
def test_a_full_disk_costs_no_finished_row(images, pixel_dit_folder, tmp_path, commands):
    out, quiet = tmp_path / "full", tmp_path / "quiet"
    arguments = ["classify", images, "--limit", "9", "--model", pixel_dit_folder, *ALONE, "--out"]
    commands.start(*arguments, quiet)
    assert commands.wait()[0] == 0
    line = max(map(len, AppendOnlyFile(quiet / "results.jsonl").lines()))
    # Room for config.json and for four lines and a half.
    room = 4 * line + line // 2
    for _ in range(2):
        commands.start(*arguments, out, largest_file=room)
        status, (error,) = commands.wait()
        assert status == 2
        assert re.match(rf"vl-diffusion: error: {re.escape(str(out))}/results.jsonl: File too large; [45] of 9 ", error)
        # Nothing is cut off or lost: neither now nor when it is tried again on the full disk.
        content = (out / "results.jsonl").read_bytes()
        assert content.endswith(b"\n")
        assert 4 <= len([json.loads(line) for line in content.splitlines()]) <= 5
    # A line that was half written, and a disk that is still full.
    kept = AppendOnlyFile(out / "results.jsonl").lines()
    with (out / "results.jsonl").open("a") as file:
        file.write('{"image_ids": 12')
    commands.start(*arguments, out, largest_file=room)
    assert commands.wait()[0] == 2
    assert AppendOnlyFile(out / "results.jsonl").lines() == kept
    commands.start(*arguments, out)
    assert commands.wait()[0] == 0
    assert (out / "classify.csv").read_bytes() == (quiet / "classify.csv").read_bytes()


@pytest.mark.slow
def test_two_commands_do_not_write_to_one_folder(images, pixel_dit_folder, tmp_path, commands, capsys):
    out = tmp_path / "out"
    arguments = ["classify", str(images), "--limit", "9", "--model", str(pixel_dit_folder), *ALONE, "--out"]
    pid = commands.start(*arguments, out, seconds=0.5)
    wait_for((out / "results.jsonl").exists)
    # The file is there a moment before it is locked.
    wait_for(lambda: finished(out) > 0)
    assert main([*arguments, str(out)]) == 2
    assert f"another command is writing to {out / 'results.jsonl'}" in capsys.readouterr().err
    os.kill(pid, signal.SIGKILL)
    assert commands.wait()[0] == -signal.SIGKILL
    # The lock does not outlive the command.
    assert main([*arguments, str(out)]) == 0


@pytest.mark.slow
def test_an_unreadable_image_is_named_before_anything_is_computed(
    images, pixel_dit_folder, tmp_path, monkeypatch, capsys
):
    good, bad, out = images / "cat" / "0.png", tmp_path / "bad.png", tmp_path / "out"
    bad.write_bytes(good.read_bytes()[:100])
    monkeypatch.setattr(
        "vl_diffusion.models.families.class_conditional.ClassConditionalDenoiser.predict",
        lambda *given: pytest.fail("something was computed"),
    )
    arguments = ["classify", str(good), str(bad), "--model", str(pixel_dit_folder), "--strict", "--out", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vl-diffusion: error: 1 of 2 images cannot be read: {bad}: ")
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"no image"), Path.unlink], ids=["damaged", "gone"])
def test_a_image_that_becomes_unreadable_costs_no_finished_row(
    harm, images, pixel_dit_folder, tmp_path, monkeypatch, capsys
):
    copies = [tmp_path / f"{i}.png" for i in range(12)]
    for i, copy in enumerate(copies):
        copy.write_bytes((images / ("dog" if i < 10 else "cat") / f"{i % 10}.png").read_bytes())
    whole, write = copies[-1].read_bytes(), AppendOnlyFile.write

    def harmful(self, text):
        write(self, text)
        if copies[-1].exists():
            harm(copies[-1])

    out = tmp_path / "out"
    arguments = ["classify", *map(str, copies), "--model", str(pixel_dit_folder), *ALONE, "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(AppendOnlyFile, "write", harmful)
        # It is left out like one that was unreadable from the start.
        assert main([*arguments[:-1], str(tmp_path / "lenient")]) == 1
        assert f"\n  {copies[-1]}: " in capsys.readouterr().err
        assert finished(tmp_path / "lenient") == len(table(tmp_path / "lenient")) == 11
        copies[-1].write_bytes(whole)
        assert main([*arguments, "--strict"]) == 2
    kept = finished(out)
    assert 0 < kept < 12
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"vl-diffusion: error: {copies[-1]} ")
    assert error.endswith(f"; {kept} of 12 images are kept in {out}; rerun the command to resume")
    copies[-1].write_bytes(whole)
    assert main(arguments) == 0
    assert finished(out) == 12
    assert f"{kept} of 12 images are finished" in capsys.readouterr().err


def test_a_process_by_itself_leaves_no_trace(images, pixel_dit_folder, tmp_path, monkeypatch):
    before = dict(os.environ)
    assert main(["classify", str(images / "cat" / "0.png"), "--model", str(pixel_dit_folder), "--draws", "2",
                 "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    assert dict(os.environ) == before
    assert not distributed.is_initialized()
    # Nor does it decide for others in the same process what the device is.
    from accelerate import PartialState

    assert PartialState._shared_state == {}
