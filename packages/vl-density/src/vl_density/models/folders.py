"""Places of densities, known without torch: built in, or in a folder."""

from __future__ import annotations

import difflib
import os
from importlib.resources import files
from pathlib import Path

PRETRAINED = Path(str(files("vl_density") / "pretrained"))
BUILT_IN = tuple(sorted(path.parent.name for path in PRETRAINED.glob("*/config.json")))
"""Names of the densities that ship with the package."""


def density_folder(source: str | os.PathLike[str]) -> Path:
    """Folder of a built-in density, or one that `save_pretrained` wrote, ``~`` being the home directory.

    Raises:
        FileNotFoundError: If there is no such density.
    """
    name = os.fspath(source)
    folder = PRETRAINED / name if name in BUILT_IN else Path(name).expanduser()
    if not (folder / "config.json").is_file():
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise FileNotFoundError(
            f"no density {name!r}: it is neither built in ({', '.join(BUILT_IN)}), nor a folder with "
            f"config.json{advice}"
        )
    return folder
