"""Optional modules, imported at first use."""

from __future__ import annotations

import importlib
from typing import Any


def import_extra(module: str, extra: str) -> Any:
    """Import an optional module; if it is missing, name the extra of vl-core that installs it.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        # Something that is missing inside the module is another problem, and no extra solves it.
        if error.name != top:
            raise
        raise ModuleNotFoundError(
            f"{top} is not installed; it comes with `pip install 'vl-core[{extra}]'`", name=top
        ) from error
