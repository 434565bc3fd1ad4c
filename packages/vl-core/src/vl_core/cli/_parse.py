"""Turn the arguments of a command into its settings; what does not fit becomes one line that names the option."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass, make_dataclass, replace
from typing import Any

from vl_core._extras import import_extra
from vl_core.cli._options import Option

_NUMBER = re.compile(r"-\.?[0-9]")
_SUBJECT = re.compile(r"^([a-z_]+(?:(?:, | and | or )[a-z_]+)*) (?=(?:must|needs?|takes?|is|are|has|have)\b)")
_KEYWORD = re.compile(r"\b([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.]+)?")


def parse(settings: type, options: Sequence[Option], arguments: Sequence[str], prog: str) -> Any:
    """Build the settings from arguments.

    Raises:
        ValueError: If an argument is no option, or its value is not what is expected.
        ModuleNotFoundError: If tyro is not installed; the message names the extra.
    """
    try:
        return _with_tyro(settings, arguments)
    except SystemExit:
        # tyro says it in a box of many lines, with types and choices that a user has not seen.
        raise ValueError(_fault(settings, options, arguments, prog)) from None


def in_options(message: str, options: Sequence[Option], aliases: Mapping[str, str]) -> str:
    """Name options as they are written in a message that names arguments of the library.

    Args:
        message: Such as ``"temperature must be positive"``, or ``"...; use grid='nested'"``.
        options: The options of the command.
        aliases: The fields of the settings that arguments of the library come from, where they have another name.

    Returns:
        Such as ``"--temperature must be positive"``, or ``"...; use --grid nested"``; an option that must be None must
        be left out.
    """
    flags = {option.field: option.field if option.positional else option.flag for option in options}
    flags |= {argument: flags[field] for argument, field in aliases.items()}

    def subject(found: re.Match[str]) -> str:
        return re.sub("[a-z_]+", lambda word: flags.get(word[0], word[0]), found[1]) + " "

    def keyword(found: re.Match[str]) -> str:
        flag = flags.get(found[1])
        if flag is None or not flag.startswith("--"):
            return found[0]
        return " ".join([flag, *([found[2].strip("'\"")] if found[2] and found[2] != "True" else [])])

    found = _KEYWORD.sub(keyword, _SUBJECT.sub(subject, message))
    return re.sub("^(--[^ ]+) must be None", r"\1 must be left out", found)


def _with_tyro(settings: type, arguments: Sequence[str]) -> Any:
    """Let tyro build an instance; it exits without a word if it cannot."""
    tyro = import_extra("tyro", "cli")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return tyro.cli(settings, args=list(arguments), add_help=False)


def _fault(settings: type, options: Sequence[Option], arguments: Sequence[str], prog: str) -> str:
    """Find out which argument does not fit, by reading each option alone."""
    flags = {option.flag: option for option in options if not option.positional}
    flags |= {option.negative: option for option in options if option.count == 0}
    rest, alone, values = list(arguments), list[str](), dict[str, Any]()
    while rest:
        token = rest.pop(0)
        if not _is_flag(token):
            alone.append(token)
            continue
        name, given, value = token.partition("=")
        flag = name.replace("_", "-")
        if flag not in flags:
            close = difflib.get_close_matches(flag, flags, n=1)
            advice = f"did you mean {close[0]}?" if close else f"see {prog} --help"
            return f"{name} is no option of {prog}; {advice}"
        option = flags[flag]
        own = [value] if given else []
        while not given and rest and not _is_flag(rest[0]) and (option.count is None or len(own) < option.count):
            own.append(rest.pop(0))
        try:
            values[option.field] = _value(option, own)
        except SystemExit:
            return _wrong(option, own)
    if surplus := _surplus([option for option in options if option.positional], alone, prog):
        return surplus
    # Every value is of its type, so a class has refused what it was given.
    try:
        _build(settings, options, values)
    except (TypeError, ValueError) as error:
        return str(error)
    return f"the options of {prog} do not go together; see {prog} --help"


def _value(option: Option, given: Sequence[str]) -> Any:
    """The value of one option, read apart from the checks of the settings."""
    if option.count == 0:
        return True
    alone = make_dataclass("Alone", [("value", option.annotation)])
    return _with_tyro(alone, ["--value", *given]).value


def _build(settings: type, options: Sequence[Option], values: Mapping[str, Any]) -> None:
    """Build nested settings from their values, for the error that this raises."""
    whole = settings()
    for field in fields(whole):
        prefix, nested = f"{field.name}.", getattr(whole, field.name)
        if is_dataclass(nested) and not isinstance(nested, type):
            own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
            try:
                replace(nested, **own)
            except (TypeError, ValueError) as error:
                flags = [replace(one, field=one.field.removeprefix(prefix)) for one in options if prefix in one.field]
                raise ValueError(in_options(str(error), flags, {})) from error
    replace(whole, **{name: value for name, value in values.items() if "." not in name})


def _surplus(positional: Sequence[Option], given: Sequence[str], prog: str) -> str:
    """The complaint about more positional arguments than there can be; empty if there are not too many."""
    if given and not positional:
        return f"{prog} takes options only, got {given[0]!r}; see {prog} --help"
    if positional and positional[0].count is not None and len(given) > positional[0].count:
        return f"{positional[0].flag} must be one value, got {' and '.join(map(repr, given[:2]))}"
    return ""


def _wrong(option: Option, values: Sequence[str]) -> str:
    got = " ".join(map(repr, values)) or "nothing"
    advice = ""
    for value in values:
        if close := [] if value in option.choices else difflib.get_close_matches(value, option.choices, n=1):
            advice = f"; did you mean {close[0]}?"
    return f"{option.flag} must be {option.expected}, got {got}{advice}"


def _is_flag(token: str) -> bool:
    return token.startswith("-") and len(token) > 1 and not _NUMBER.match(token)
