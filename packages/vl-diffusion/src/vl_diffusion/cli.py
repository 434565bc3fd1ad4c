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
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.labeled:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "measure accuracy, cost and calibration",
    ),
    "calibrate": Command(
        f"{_COMMANDS}.settings.labeled:Calibrate",
        f"{_COMMANDS}.calibrate:run",
        "fit the temperature of the probabilities",
    ),
    "compare-search": Command(
        f"{_COMMANDS}.settings.compare_search:CompareSearch",
        f"{_COMMANDS}.compare_search:run",
        "compare search strategies on the same noise draws",
    ),
    "adapt": Command(
        f"{_COMMANDS}.settings.adapt:Adapt",
        f"{_COMMANDS}.adapt:run",
        "compare ways to adapt a classifier to corrupted images",
    ),
    "demo": Command(
        f"{_COMMANDS}.settings.demo:Demo",
        f"{_COMMANDS}.demo:run",
        "serve a web page to try a model on",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-diffusion`; see `vl_core.cli.run_command`."""
    return run_command("vl-diffusion", __version__, COMMANDS, arguments)
