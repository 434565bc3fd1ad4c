"""The command line: `vl-ssl COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_ssl.__about__ import __version__

_COMMANDS = "vl_ssl.commands"

COMMANDS: dict[str, Command] = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train a network without labels, and watch for collapse",
        {
            "--images photos --backbone resnet18 --epochs 100 --workers 8": "images of your own",
            "--schedule hybrid --switch-at alarm": "one chunk after the other, then all from an alarm on",
            "--images photos --method byol --recipe byol --on-alarm stop": "another method; an alarm ends the run",
        },
    ),
    "collapse": Command(
        f"{_COMMANDS}.settings.collapse:Collapse",
        f"{_COMMANDS}.collapse:run",
        "measure the collapse of features in files",
        {
            "features.npy": "one file of features of shape (n, d)",
            "epoch-10.npy epoch-20.npy epoch-30.npy --out spectra": "several, side by side",
            "features.npz --key embeddings --accurate": "one array of several, without squaring",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-ssl`; see `vl_core.cli.run_command`."""
    return run_command("vl-ssl", __version__, COMMANDS, arguments)
