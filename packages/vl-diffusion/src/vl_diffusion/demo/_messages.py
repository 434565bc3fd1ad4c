"""Messages of the page: errors in the class names, and the progress and result of a race."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from html import escape

from vl_diffusion.demo._race import Race

NO_IMAGE = "There is no image yet: drop one on the left, or pick an example."
START = "Drop an image, then press <b>Classify</b> and watch the classes race."


def checked_names(text: str, known: Sequence[str] | None) -> tuple[str, ...]:
    """Parse class names, one per line or separated by commas, in the model's spelling.

    Args:
        text: The text as entered.
        known: Class names of the model; None if it accepts any text.

    Raises:
        ValueError: If there are fewer than two names, a name is repeated, or unknown to the model; the message is a
            sentence for the user.
    """
    lines = text.splitlines() if "\n" in text.strip() else text.split(",")
    names = [" ".join(line.split()) for line in lines if line.strip()]
    if known is not None:
        spelling = {name.casefold(): name for name in known}
        names = [spelling.get(name.casefold(), name) for name in names]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(_about_unknown(unknown, known))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{_listed(repeated)} is listed more than once; list each name once.")
    if len(names) < 2:
        there = f"there is only {_quoted(names[0])}" if names else "there is none"
        raise ValueError(f"At least two class names are needed, and {there}; write one on each line.")
    return tuple(names)


def _about_unknown(unknown: Sequence[str], known: Sequence[str]) -> str:
    spelling = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(unknown[0].casefold(), spelling, 1)
    hint = f" Did you mean {_quoted(spelling[near[0]])}?" if near else ""
    verb = "is not among the classes" if len(unknown) == 1 else "are not among the classes"
    return f"{_listed(unknown)} {verb} of this model.{hint} It knows {_listed(known)}."


def _quoted(name: str) -> str:
    return f"“{name}”"


def _listed(names: Sequence[str], at_most: int = 12) -> str:
    quoted = [_quoted(name) for name in names[:at_most]]
    if len(names) > at_most:
        quoted.append(f"{len(names) - at_most:,} more")
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def error_html(message: str) -> str:
    """HTML of an error message."""
    return f'<p class="vl-error" role="alert">{escape(message)}</p>'


def progress_html(race: Race) -> str:
    """HTML of a sentence about a race in progress."""
    leader = escape(race.classes[race.leader])
    left, total = int((~race.out).sum()), len(race.classes)
    return f"<p>Round {race.rounds}: <b>{leader}</b> leads, and {left} of {total} classes are still in the race.</p>"


def unfamiliar_html(known: Sequence[str]) -> str:
    """HTML of the warning that an image is unlike the training data."""
    return (
        '<p class="vl-warning" role="note">This image is unlike those that the model was trained on, so the prediction '
        f"says little: whatever it shows, the model calls it one of {escape(_listed(known, 4))}.</p>"
    )


def result_html(race: Race, certainty: float) -> str:
    """HTML of the prediction of a finished race and its cost.

    Args:
        race: The race.
        certainty: Probability that the best class over all draws was kept, from 0 to 1.
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
    cost = f"That took {race.evaluations:,} evaluations"
    saved = f"{100 * race.saved:.0f} % fewer" if round(100 * race.saved) > 0 else "not fewer"
    cost += f", {saved} than exhaustive search, which takes {race.exhaustive:,}."
    meaning = (
        f"The certainty is about the search: with a probability of {100 * certainty:g} % it kept the class with the "
        f"smallest error over all {race.draws:,} draws. It says nothing about the accuracy of the model."
    )
    return (
        f'<p class="vl-prediction">Prediction: <strong>{winner}</strong></p>'
        f"<p>{why} {cost}</p>"
        f'<p class="vl-small">{meaning}</p>'
    )
