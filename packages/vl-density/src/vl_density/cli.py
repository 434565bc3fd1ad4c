"""The command line: `vl-density COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_density.__about__ import __version__

_COMMANDS = "vl_density.commands"

COMMANDS = {
    "score": Command(
        f"{_COMMANDS}.settings.score:Score",
        f"{_COMMANDS}.score:run",
        "exact log-probabilities of images",
        {
            "photos --density runs/photos": "images of your own under a density of your own",
        },
    ),
    "sample": Command(
        f"{_COMMANDS}.settings.sample:Sample",
        f"{_COMMANDS}.sample:run",
        "draw images of a density",
        {
            "--count 64 --seed 1": "other images",
        },
    ),
    "ood": Command(
        f"{_COMMANDS}.settings.ood:OutOfDistribution",
        f"{_COMMANDS}.ood:run",
        "score images out of the distribution, side by side",
        {
            "--outside photos": "images of your own outside",
            "--limit 100 --repetitions 200": "a quick look",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-density`; see `vl_core.cli.run_command`."""
    return run_command("vl-density", __version__, COMMANDS, arguments)
