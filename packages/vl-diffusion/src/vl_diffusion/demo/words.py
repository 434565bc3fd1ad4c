"""What the page says: kind words about class names that will not do, and a race's verdict in a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from html import escape

from vl_diffusion.demo.race import Race

NO_IMAGE = "There is no image yet: drop one on the left, or pick an example."
START = "Drop an image, then press <b>Classify</b> and watch the classes race."


def checked_names(text: str, known: Sequence[str] | None) -> tuple[str, ...]:
    """The class names that somebody typed, one a line or between commas, in the model's own spelling.

    Args:
        text: What was typed.
        known: Names that the model can tell apart; None if it reads any words.

    Raises:
        ValueError: If there are fewer than two, one is there twice, or one is unknown to the model; the message is a
            sentence for the person who typed them.
    """
    lines = text.splitlines() if "\n" in text.strip() else text.split(",")
    names = [" ".join(line.split()) for line in lines if line.strip()]
    if known is not None:
        spelling = {name.casefold(): name for name in known}
        names = [spelling.get(name.casefold(), name) for name in names]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(_about_unknown(unknown, known))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{_listed(repeated)} stands there more than once; once is enough.")
    if len(names) < 2:
        there = f"only {_quoted(names[0])} is there" if names else "there is none"
        raise ValueError(f"At least two class names are needed to choose between, and {there}; write one on each line.")
    return tuple(names)


def _about_unknown(unknown: Sequence[str], known: Sequence[str]) -> str:
    spelling = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(unknown[0].casefold(), spelling, 1)
    hint = f" Did you mean {_quoted(spelling[near[0]])}?" if near else ""
    verb = "is not among the classes" if len(unknown) == 1 else "are not among the classes"
    return f"{_listed(unknown)} {verb} that this model has learned.{hint} It knows {_listed(known)}."


def _quoted(name: str) -> str:
    return f"“{name}”"


def _listed(names: Sequence[str], at_most: int = 12) -> str:
    quoted = [_quoted(name) for name in names[:at_most]]
    if len(names) > at_most:
        quoted.append(f"{len(names) - at_most:,} more")
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def problem(message: str) -> str:
    """HTML of something that went wrong."""
    return f'<p class="vl-problem" role="alert">{escape(message)}</p>'


def progress(race: Race) -> str:
    """HTML of a sentence on how a race stands that is still on."""
    leader = escape(race.classes[race.leader])
    left, total = int((~race.out).sum()), len(race.classes)
    return f"<p>Round {race.rounds}: <b>{leader}</b> leads, and {left} of {total} classes are still in the race.</p>"


def verdict(race: Race, certainty: float) -> str:
    """HTML of what a finished race found, and what that cost.

    Args:
        race: The race.
        certainty: Probability that it kept the class which all draws would have favored, from 0 to 1.
    """
    winner, rival = escape(race.classes[race.leader]), escape(race.classes[race.last_rival])
    others = len(race.classes) - 1
    if race.decided:
        gone = "The other class dropped" if others == 1 else f"All {others} others dropped"
        why = f"{gone} out, “{rival}” last, in round {race.last_seen[race.last_rival]}."
    else:
        left = int((~race.out).sum()) - 1
        more = f" and {left - 1} more" if left > 1 else ""
        why = f"It is a close call: “{rival}”{more} could not be ruled out with {race.draws:,} draws."
    cost = f"That took {race.evaluations:,} evaluations; showing every class every draw takes {race.exhaustive:,}."
    meaning = (
        f"“Certain” is about the search: with a probability of {100 * certainty:g} % it kept the class that all "
        f"{race.draws:,} draws would have favored. Whether the model is right is another question."
    )
    return (
        f'<p class="vl-says">The model says: <strong>{winner}</strong></p>'
        f"<p>{why} {cost}</p>"
        f'<p class="vl-small">{meaning}</p>'
    )
