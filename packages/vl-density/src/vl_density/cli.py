"""The command line: `vl-density COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_density.__about__ import __version__

_COMMANDS = "vl_density.commands"

COMMANDS = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train a density of images by maximum likelihood",
        {
            "--images photos --updates 5000": "images of your own",
            "--model transformer --head categorical --levels 16 --width 64 --layers 4": "another density",
        },
    ),
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
    "inpaint": Command(
        f"{_COMMANDS}.settings.inpaint:Inpaint",
        f"{_COMMANDS}.inpaint:run",
        "complete images whose lower or right part is hidden",
        {
            "--known left --share 0.3": "the left third stays",
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
    "toy": Command(
        f"{_COMMANDS}.settings.toy:Toy",
        f"{_COMMANDS}.toy:run",
        "climb a density that fits well, and see where that leads",
        {
            "--seeds 1 --noise 0.3": "a quick look at narrower modes",
        },
    ),
    "translate": Command(
        f"{_COMMANDS}.settings.translate:Translate",
        f"{_COMMANDS}.translate:run",
        "train a generator by a frozen density, and judge it",
        {
            "--seeds 1 --signal-weight 0.1": "a quick look at a weaker signal",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-density`; see `vl_core.cli.run_command`."""
    return run_command("vl-density", __version__, COMMANDS, arguments)
