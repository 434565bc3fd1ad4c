"""The settings of `vl-explorer retry`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from vl_core.cli import Count, Groups, ImageSource, Metavar
from vl_core.data import check_images

from vl_explorer.commands.settings.numbers import FiniteRange
from vl_explorer.commands.settings.stored import StoredSettings
from vl_explorer.web.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Retry(StoredSettings):
    """Download again what gave no image, for the reasons that are named; rerun to resume.

    By default: only list the reasons, and how many addresses each of them holds.
    """

    reason: tuple[Annotated[str, Metavar("REASON")], ...] = ()
    """Reasons that are tried again, such as dns timeout or dns,timeout."""

    contact: Annotated[str, Metavar("CONTACT")] = ""
    """Page or mail address at which whoever runs a site reaches you; required for addresses of the web."""

    strict: bool = False
    """Take only what its site says may be used for training; also where a run of the store did. Default: silence is no
    objection."""

    engine_source: ImageSource | None = None
    """Data set of the captions engine that gave addresses of the form local:NAME/NUMBER; default: those
    that the runs of the store searched."""

    test_images: ImageSource | None = None
    """Images of your test set, of which no version enters; default: those of the runs of the store, which count beside
    these where they are there."""

    quota: Annotated[float, FiniteRange(above=0)] | None = None
    """Megabytes that the image files may take; those with the lowest rewards go first. Default: no limit."""

    connections: Count = 32
    """Requests at the same time; one host is asked once a second."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("reason", "engine_source"),
        "Web": ("contact", "strict", "test_images"),
        "Output": ("store", "quota"),
        "Runtime": ("connections",),
    }

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of the reasons, each once."""
        words = (word.strip() for part in self.reason for word in part.split(","))
        return tuple(dict.fromkeys(word for word in words if word))

    @property
    def policy(self) -> Policy:
        """Limits of the downloads."""
        return Policy(contact=self.contact, strict=self.strict, connections=self.connections)

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a number is out of range or the contact is malformed.
        """
        super().check()
        _ = self.policy

    def check_input(self) -> None:
        """Check the store and the images; see `vl_core.data.check_images`."""
        for images, option in ((self.test_images, "--test-images"), (self.engine_source, "--engine-source")):
            if images is not None:
                check_images([images], option, files=False)
        super().check_input()
