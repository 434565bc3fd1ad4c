"""The command line: `vl-diffusion COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_diffusion.__about__ import __version__

_COMMANDS = "vl_diffusion.commands"

COMMANDS = {
    "classify": Command(
        f"{_COMMANDS}.settings.classify:Classify",
        f"{_COMMANDS}.classify:run",
        "classify images by their denoising error",
        {
            "photos/ --model owner/name --classes cat dog": "a folder of images by a text-conditional model of the hub",
            "photos/*.png --classes @names.txt --draws 100": "files; class names from a file; at most 100 draws",
        },
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.labeled:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "measure accuracy, cost and calibration",
        {
            "photos/ --model owner/name --limit 200": "200 images of a folder with a subfolder per class",
        },
    ),
    "calibrate": Command(
        f"{_COMMANDS}.settings.labeled:Calibrate",
        f"{_COMMANDS}.calibrate:run",
        "fit the temperature of the probabilities",
        {
            "photos/ --model owner/name --split train": "on the images below photos/train",
        },
    ),
    "compare-search": Command(
        f"{_COMMANDS}.settings.compare_search:CompareSearch",
        f"{_COMMANDS}.compare_search:run",
        "compare search strategies on the same noise draws",
        {
            "--limit 50 --exhaustive 500": "on 50 images that ship with the package, with a longer reference",
        },
    ),
    "adapt": Command(
        f"{_COMMANDS}.settings.adapt:Adapt",
        f"{_COMMANDS}.adapt:run",
        "compare ways to adapt a classifier to corrupted images",
        {
            "--corruptions fog contrast --severities 3 5": "two corruptions at two severities",
        },
    ),
    "demo": Command(
        f"{_COMMANDS}.settings.demo:Demo",
        f"{_COMMANDS}.demo:run",
        "serve a web page to try a model on",
        {
            "--model owner/name --classes cat dog --browser": "a model of the hub, in the web browser",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-diffusion`; see `vl_core.cli.run_command`."""
    return run_command("vl-diffusion", __version__, COMMANDS, arguments)
