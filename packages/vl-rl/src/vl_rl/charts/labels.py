"""Names of methods beside what they name."""

from __future__ import annotations

import textwrap

from vl_core.charts import label_text


def wrapped_label(name: str, *, width: int = 18) -> str:
    """A name in at most two lines, each shortened where a word is too long for it.

    Example:
        >>> wrapped_label("fourier-sac on Pendulum-v1").splitlines()
        ['fourier-sac on', 'Pendulum-v1']
    """
    lines = textwrap.wrap(label_text(name, at_most=2 * width), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(label_text(line, at_most=width) for line in lines[:2])
