"""The names and places of data sets: what `open_dataset` takes, known before anything is opened."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

EMOJI_STYLES = ("noto", "twemoji", "fluent")

BUILTIN_NAMES = ("fashion", "emoji", *(f"emoji:{style}" for style in EMOJI_STYLES), "fashion-mnist")

UNDERSTOOD = f"a name ({', '.join(BUILTIN_NAMES)}), an image folder, an .npz or .parquet file, or 'hf:owner/name'"


def check_source(spec: str | os.PathLike[str], argument: str = "spec") -> None:
    """Check that a data set, a file or a folder of this name exists, without opening it; it needs no torch.

    Args:
        spec: As `open_dataset` takes it, or an image file; a data set on the Hugging Face hub is not looked up.
        argument: Name of the argument in errors.

    Raises:
        FileNotFoundError: If it looks like a path, and there is no such file or folder.
        ValueError: If it is a name that nothing has.
    """
    if isinstance(spec, str) and (spec in BUILTIN_NAMES or spec.startswith("hf:")):
        return
    text = os.fspath(spec)
    # A name that is too long for the file system is no file either.
    if os.path.exists(text):  # noqa: PTH110
        return
    if any(character in text for character in "*?["):
        raise FileNotFoundError(
            f"{argument} must be {UNDERSTOOD}, but there is no file or folder {text!r}; a pattern is expanded by the "
            "shell where it is not quoted and something fits it"
        )
    close = difflib.get_close_matches(text.lower(), BUILTIN_NAMES, n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    # Something that looks like a path is a missing file; anything else is a name that nobody knows.
    if not isinstance(spec, str) or Path(text).suffix or "/" in text or os.sep in text:
        raise FileNotFoundError(f"{argument} must be {UNDERSTOOD}, but there is no file or folder {text!r}{hint}")
    raise ValueError(f"{argument} must be {UNDERSTOOD}, got {text!r}{hint}")
