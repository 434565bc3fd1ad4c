"""Types of options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from vl_core.cli import Metavar

SCENES = "scenes"
"""Name of the scenes that are drawn, where captioned images are asked for."""

CaptionSource: TypeAlias = Annotated[str, Metavar("CAPTIONS")]
"""Source that `open_captions` opens, or `SCENES`."""
