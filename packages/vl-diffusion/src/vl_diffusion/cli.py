"""The command line: `vl-diffusion COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_diffusion.__about__ import __version__

COMMANDS = {
    "classify": Command("vl_diffusion.commands.classify", "Classify", "classify images by their denoising error"),
    "evaluate": Command("vl_diffusion.commands.evaluate", "Evaluate", "measure accuracy, cost and calibration"),
    "calibrate": Command("vl_diffusion.commands.calibrate", "Calibrate", "fit the temperature of the probabilities"),
    "compare-search": Command(
        "vl_diffusion.commands.compare_search", "CompareSearch", "compare search strategies on the same noise draws"
    ),
    "adapt": Command("vl_diffusion.commands.adapt", "Adapt", "compare ways to adapt a classifier to corrupted images"),
    "demo": Command("vl_diffusion.commands.demo", "Demo", "serve a web page to try a model on"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-diffusion`; see `vl_core.cli.run_command`."""
    return run_command("vl-diffusion", __version__, COMMANDS, arguments)
