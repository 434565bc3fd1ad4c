"""The command line: `vl-attention COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_attention.__about__ import __version__

COMMANDS = {
    "pretrain": Command("vl_attention.commands.pretrain", "Pretrain", "pre-train a small teacher without labels"),
    "train": Command("vl_attention.commands.train", "Train", "train students from a teacher's attention"),
    "evaluate": Command("vl_attention.commands.evaluate", "Evaluate", "measure accuracy under distribution shifts"),
    "ensemble": Command("vl_attention.commands.ensemble", "EnsembleModels", "measure the accuracy of an ensemble"),
    "maps": Command("vl_attention.commands.maps", "Maps", "draw and compare the attention of models"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-attention`; see `vl_core.cli.run_command`."""
    return run_command("vl-attention", __version__, COMMANDS, arguments)
