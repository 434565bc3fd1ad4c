"""A command prints nothing on standard error but its own lines, and changes no logging of the program it runs in."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from vl_attention.cli import main

# Only a process of its own has first imports, which some libraries comment on.
PROGRAM = """
import json, logging, sys

names = "", "timm", "transformers", "accelerate", "huggingface_hub", "PIL", "vl_core", "vl_attention"
loggers = [logging.getLogger(name) for name in names]

def state():
    return [[logger.level, logger.propagate, logger.disabled, len(logger.handlers)] for logger in loggers]

untouched = state()
import vl_attention
for name in vl_attention.__all__:
    getattr(vl_attention, name)
imported = state()
from vl_attention.cli import main
statuses = [main(arguments) for arguments in json.loads(sys.argv[1])]
finished = state()
print(json.dumps([statuses, *(one[:1] + one[-3:] == untouched[:1] + untouched[-3:] for one in (imported, finished))]))
"""


@pytest.fixture
def commands(saved, tmp_path):
    """An evaluation of two images in folders of classes, beside two files that are not read."""
    folder = tmp_path / "images"
    for i, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(i).integers(0, 256, (12, 12), np.uint8)
        Image.fromarray(pixels).save(folder / name / "a.png")
    (folder / "dark" / "b.heic").write_bytes(b"another format")
    (folder / "bright" / "notes").write_bytes(b"no suffix")
    models = [str(saved / "distilled"), str(saved / "tuned")]
    options = ["--images", str(folder), "--shifts", "none", "--device", "cpu"]
    return [["evaluate", *models, *options, "--out", str(tmp_path / "out")]]


def passed_over(tmp_path):
    return [f"passed over in {tmp_path / 'images'} (2 in all): 1 without a suffix, 1 named .heic"]


def test_files_that_are_not_read_are_said_once(commands, tmp_path, caplog, capsys):
    assert [main(arguments) for arguments in commands] == [0]
    assert caplog.messages == passed_over(tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_command_prints_its_own_lines_alone(commands, tmp_path):
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == passed_over(tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == [[0], True, True]
