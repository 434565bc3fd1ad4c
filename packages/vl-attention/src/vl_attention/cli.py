"""The command line: `vl-attention COMMAND`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib import import_module

from vl_attention.__about__ import __version__

_COMMANDS = {
    "pretrain": "Pretrain",
    "train": "Train",
    "evaluate": "Evaluate",
    "ensemble": "EnsembleModels",
    "maps": "Maps",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command, or say with ``--version`` which one this is; bad input ends in one line and exit status 2.

    Args:
        args: The command line without the program's name; default: the process's own.

    Returns:
        The exit status.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks must not cost the table; standard error does this by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    args = sys.argv[1:] if args is None else args
    if list(args) == ["--version"]:
        print(f"vl-attention {__version__}")
        return 0
    try:
        # These take seconds; an interruption meanwhile is one line too.
        from tyro.extras import subcommand_cli_from_dict

        modules = {name: import_module(f"vl_attention.commands.{name}") for name in _COMMANDS}
        kinds = {name: getattr(modules[name], kind) for name, kind in _COMMANDS.items()}
        settings = subcommand_cli_from_dict(kinds, prog="vl-attention", args=args)
        run = next(modules[name].run for name, kind in kinds.items() if type(settings) is kind)
        run(settings)
    except (TypeError, ValueError, OSError, ModuleNotFoundError) as error:
        _complain(f"error: {_one_line(error)}", error)
        return 2
    except KeyboardInterrupt as interruption:
        _complain("interrupted; the same command goes on from the last checkpoint", interruption)
        return 130
    return 0


def _complain(what: str, error: BaseException) -> None:
    """One line: what happened, and what was noted on the way, such as how much is kept."""
    print("; ".join([f"vl-attention: {what}", *getattr(error, "__notes__", ())]), file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
