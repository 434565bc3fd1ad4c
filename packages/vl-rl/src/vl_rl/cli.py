"""The command line: `vl-rl COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from vl_core.cli import Command, run_command

from vl_rl.__about__ import __version__

_COMMANDS = "vl_rl.commands"

COMMANDS = {
    "train": Command(
        f"{_COMMANDS}.settings.train:Train",
        f"{_COMMANDS}.train:run",
        "train algorithms side by side, over seeds",
        {
            "--env HalfCheetah-v5 --algo sac --total-timesteps 100000": "another environment, one algorithm",
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `vl-rl`; see `vl_core.cli.run_command`."""
    return run_command("vl-rl", __version__, COMMANDS, arguments)
