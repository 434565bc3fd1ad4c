"""A command prints nothing on standard error but its own lines, and changes no logging of the program it runs in."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from vl_diffusion.cli import main

# Only a process of its own has first imports, which some libraries comment on.
PROGRAM = """
import json, logging, sys

names = "", "diffusers", "transformers", "timm", "accelerate", "huggingface_hub", "PIL", "vl_core", "vl_diffusion"
loggers = [logging.getLogger(name) for name in names]

def state():
    return [[logger.level, logger.propagate, logger.disabled, len(logger.handlers)] for logger in loggers]

untouched = state()
import vl_diffusion
for name in vl_diffusion.__all__:
    getattr(vl_diffusion, name)
imported = state()
# The libraries set up their own loggers when they are first imported.
import diffusers.utils, transformers.utils
from vl_diffusion.cli import main
before = state()
statuses = [main(arguments) for arguments in json.loads(sys.argv[1])]
bars = [library.utils.logging.is_progress_bar_enabled() for library in (diffusers, transformers)]
print(json.dumps([statuses, bars, untouched[0] == imported[0], untouched[-3:] == imported[-3:], before == state()]))
"""


@pytest.fixture
def images(tmp_path):
    """Two images in folders of classes, and two files that are not read."""
    folder = tmp_path / "images"
    for i, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(i).integers(0, 256, (28, 28), np.uint8)
        Image.fromarray(pixels).save(folder / name / "a.png")
    (folder / "cat" / "b.heic").write_bytes(b"another format")
    (folder / "dog" / "notes").write_bytes(b"no suffix")
    return folder


@pytest.fixture
def commands(images, sd_folder, pixel_dit_folder, tmp_path):
    """A classification and an evaluation of these images."""
    quick = ["--search", "exhaustive", "--draws", "2"]
    of_text = ["--model", str(sd_folder), "--classes", "cat", "dog"]
    return [
        ["classify", str(images), *of_text, *quick, "--out", str(tmp_path / "classify")],
        ["evaluate", str(images), "--model", str(pixel_dit_folder), *quick, "--out", str(tmp_path / "evaluate")],
    ]


def test_files_that_are_not_read_are_said_once_a_command(commands, images, caplog, capsys):
    assert [main(arguments) for arguments in commands] == [0, 0]
    assert caplog.messages == [passed_over(images)] * 2
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_commands_print_their_own_lines_alone(commands, images):
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [passed_over(images)] * 2
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0], [True, True], True, True, True]


def passed_over(images):
    return f"passed over in {images} (2 in all): 1 named .heic, 1 without a suffix"
