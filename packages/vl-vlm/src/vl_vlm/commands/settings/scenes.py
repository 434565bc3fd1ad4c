"""The settings of `vl-vlm scenes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from vl_core.cli import Groups, Range, RunPath, Seed, check_values

from vl_vlm.scenes.vocabulary import KINDS, Kind, Split


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Write procedural scenes with captions that are true of them; rerun to resume.

    By default: a hundred images of objects with attributes, in relations and in numbers, in a few seconds.
    """

    count: Annotated[int, Range(1, 10**6)] = 100
    """Number of scenes; more scenes begin with the same ones."""

    size: Annotated[int, Range(16, 1024)] = 64
    """Width and height of the images in pixels."""

    split: Split = "train"
    """Combinations of colors, shapes and relations; those of held_out are in no other split."""

    kinds: tuple[Kind, ...] = KINDS
    """Kinds of scenes, which follow one another in this order."""

    negatives: bool = False
    """Add false captions of each image."""

    seed: Seed = 0
    """Seed of the scenes."""

    format: Literal["folder", "parquet"] = "folder"
    """PNG files and metadata.jsonl in images/, as Hugging Face's imagefolder reads them, or files of a thousand rows in
    parquet/."""

    out: RunPath = Path("vl-vlm-scenes")
    """Folder for the images and scenes.png, a sheet of the first ones; an existing folder of other settings is
    refused."""

    workers: Annotated[int, Range(0, 256)] = 0
    """Processes that draw images; they change no pixel."""

    GROUPS: ClassVar[Groups] = {
        "Scenes": ("count", "size", "split", "kinds", "negatives", "seed"),
        "Output": ("out", "format"),
        "Runtime": ("workers",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check what can be seen without drawing.

        Raises:
            ValueError: If a number is out of range, or kinds are missing or come twice.
            OSError: If the folder cannot be written to, or holds something else.
        """
        check_values(self)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"--kinds must be some of {', '.join(KINDS)}, each once, got {' '.join(self.kinds)!r}")
