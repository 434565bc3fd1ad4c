"""The settings that all commands on the store of earlier runs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from vl_core.cli import FolderPath, Groups, check_values

from vl_explorer.commands.settings.numbers import FiniteRange


@dataclass(frozen=True, kw_only=True)
class StoredSettings:
    """A store that is there, on the command line."""

    store: FolderPath = Path("vl-explorer-run")
    """Folder of the store: that of vl-explorer run --store, or the --out of a run."""

    busy_seconds: Annotated[float, FiniteRange(above=0)] = 30.0
    """Seconds that one of four tries waits for another process to finish writing."""

    GROUPS: ClassVar[Groups] = {"Runtime": ("busy_seconds",)}

    ALIASES: ClassVar[Mapping[str, str]] = {}

    def check(self) -> None:
        """Check the values alone.

        Raises:
            ValueError: If one is out of range.
        """
        check_values(self)

    def check_input(self) -> None:
        """Check that there is a store.

        Raises:
            FileNotFoundError: If there is none.
        """
        if not (self.store / "store.sqlite").is_file():
            raise FileNotFoundError(
                f"--store must be a folder with store.sqlite, got {self.store}; give the --store or --out of a run"
            )


@dataclass(frozen=True, kw_only=True)
class RunSettings(StoredSettings):
    """A run in a store, on the command line."""

    run: str | None = None
    """Name of the run; default: the only one of the store."""
