"""The help of a program and of a command, as plain text that fits the terminal."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Mapping, Sequence

from vl_core.cli._options import Option

_INDENT = 24  # columns of the options, before their texts
_WIDEST = 100


def program_help(prog: str, commands: Mapping[str, str]) -> str:
    """The help of a program: a line a command.

    Args:
        prog: Name of the program.
        commands: One line about each command, by name.
    """
    width = max(map(len, ["--version", *commands]))
    return "\n".join(
        [
            f"usage: {prog} [--help] [--version] COMMAND ...",
            "",
            "commands:",
            *(f"  {name:{width}}  {line}" for name, line in commands.items()),
            "",
            "options:",
            f"  {'--help':{width}}  show this help, or that of a command: {prog} COMMAND --help",
            f"  {'--version':{width}}  show the version",
        ]
    )


def command_help(prog: str, settings: type, options: Sequence[Option], examples: Mapping[str, str]) -> str:
    """The help of a command: usage, what it does, its options in groups, and examples.

    Args:
        prog: Name of the program and the command.
        settings: The dataclass of its settings, whose docstring says what it does.
        options: Its options.
        examples: What its examples do, by their arguments.
    """
    width = min(_WIDEST, shutil.get_terminal_size((80, 24)).columns)
    positional = [f"[{option.usage}]" for option in options if option.positional]
    blocks = [" ".join(["usage:", prog, "[OPTIONS]", *positional])]
    for paragraph in (inspect.getdoc(settings) or "").replace("`", "").split("\n\n"):
        blocks.append(textwrap.fill(" ".join(paragraph.split()), width, break_on_hyphens=False))
    for group in dict.fromkeys(option.group for option in options):
        own = [_entry(option.usage, _text(option), width) for option in options if option.group == group]
        blocks.append("\n".join([f"{group}:", *own]))
    help_itself = [_entry("-h, --help", "Show this help.", width), _entry("--version", "Show the version.", width)]
    blocks.append("\n".join(["Help:", *help_itself]))
    if examples:
        lines = ["Examples:"]
        for arguments, meaning in examples.items():
            lines += [f"  {f'{prog} {arguments}'.rstrip()}", f"      {meaning}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _text(option: Option) -> str:
    if not option.default:
        return option.text
    return f"{option.text.removesuffix('.')} (default: {option.default})."


def _entry(usage: str, text: str, width: int) -> str:
    """One option: its text in a column of its own, which begins on the next line if the option is long."""
    indent = " " * _INDENT
    lines = textwrap.wrap(text, max(width - _INDENT, 20), break_on_hyphens=False) or [""]
    head = f"  {usage}"
    if len(head) + 2 > _INDENT:
        return "\n".join([head, *(indent + line for line in lines)])
    return "\n".join([f"{head:{_INDENT}}{lines[0]}".rstrip(), *(indent + line for line in lines[1:])])
