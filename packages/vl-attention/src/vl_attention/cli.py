"""The command line: `vl-attention COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_attention.__about__ import __version__

_COMMANDS = "vl_attention.commands"

COMMANDS = {
    "pretrain": Command(
        f"{_COMMANDS}.settings.pretrain:Pretrain",
        f"{_COMMANDS}.pretrain:run",
        "pre-train a small teacher without labels",
    ),
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train students from a teacher's attention",
    ),
    "evaluate": Command(
        f"{_COMMANDS}.settings.evaluate:Evaluate",
        f"{_COMMANDS}.evaluate:run",
        "measure accuracy under distribution shifts",
    ),
    "ensemble": Command(
        f"{_COMMANDS}.settings.ensemble:EnsembleModels",
        f"{_COMMANDS}.ensemble:run",
        "measure the accuracy of an ensemble",
    ),
    "maps": Command(
        f"{_COMMANDS}.settings.maps:Maps",
        f"{_COMMANDS}.maps:run",
        "draw and compare the attention of models",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-attention`; see `vl_core.cli.run_command`."""
    return run_command("vl-attention", __version__, COMMANDS, arguments)
