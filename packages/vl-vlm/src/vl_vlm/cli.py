"""The command line: `vl-vlm COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_vlm.__about__ import __version__

_COMMANDS = "vl_vlm.commands"

COMMANDS = {
    "scenes": Command(
        f"{_COMMANDS}.settings.scenes:Scenes",
        f"{_COMMANDS}.scenes:run",
        "write procedural scenes with captions",
        {
            "--count 2000 --size 32 --kinds relations": "small images of two objects in a relation",
            "--split held_out --seed 1": "combinations that the other splits never show",
            "--format parquet --negatives": "tables with images, captions and false captions",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-vlm`; see `vl_core.cli.run_command`."""
    return run_command("vl-vlm", __version__, COMMANDS, arguments)
