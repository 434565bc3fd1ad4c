"""The settings of `vl-explorer forget`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro
from vl_core.cli import Groups, Metavar

from vl_explorer.commands.settings.stored import StoredSettings


@dataclass(frozen=True, kw_only=True)
class Forget(StoredSettings):
    """Take images down for good: their files and rows go, and they cannot come back under any address.

    Versions that look the same go too. Other processes may be using the store meanwhile.
    """

    targets: tyro.conf.Positional[tuple[Annotated[str, Metavar("URL|HASH")], ...]] = ()
    """Addresses of images; addresses of pages, for all images from there; or hashes of 64 hexadecimal digits, the
    SHA-256 of a file or the perceptual hash of an image."""

    GROUPS: ClassVar[Groups] = {"Input": ("targets",), "Output": ("store",)}

    def check(self) -> None:
        """Check all targets before the first one goes.

        Raises:
            ValueError: If one is neither an address nor a hash.
        """
        super().check()
        from vl_explorer.store.rights.forget import read_target

        for target in self.targets:
            read_target(target)

    def check_input(self) -> None:
        """Check that there is something to be done.

        Raises:
            FileNotFoundError: If there is no store.
            ValueError: If there is no target.
        """
        super().check_input()
        if not self.targets:
            raise ValueError("TARGETS must be at least one address or hash, got none; name what has to go")
