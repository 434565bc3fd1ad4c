"""Read the images of a run once, before anything is computed: their ids, and those that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vl_core.data import ImageFault, refuse_faults
from vl_core.progress import progress_bar
from vl_core.runs.processes import current_process
from vl_core.tables import open_csv, printable

from vl_diffusion.models.image_stream import READ_ERRORS
from vl_diffusion.models.images import content_id, to_tensor
from vl_diffusion.runs.image_collection import ImageCollection, ImageEntry
from vl_diffusion.runs.tables import spreadsheet_safe

SKIPPED_FILE = "skipped.csv"
"""In the folder of the results: names of the images that are left out, and reasons; absent if there are none."""

SOME_LEFT_OUT = 1
"""Exit status of a command that finished, but left out images that cannot be read."""

# Images, or groups of equal ones, that a message lists; the rest are counted.
_LISTED = 10


@dataclass(frozen=True, eq=False)
class ReadImages:
    """Images that can be read, and the others.

    Attributes:
        collection: The B images that can be read.
        image_ids: Their ids, a hash of the pixels each.
        places: Their indices in the collection that was read.
        skipped: The images that cannot be read.
    """

    collection: ImageCollection
    image_ids: list[int]
    places: list[int]
    skipped: tuple[ImageFault, ...] = ()

    def without(self, failed: Sequence[tuple[int, str]]) -> ReadImages:
        """Move the images with these ids, which became unreadable, to those that are skipped; with reasons."""
        reasons = dict(failed)
        kept = [i for i, image_id in enumerate(self.image_ids) if image_id not in reasons]
        gone = [
            ImageFault(entry.name, reasons[image_id])
            for entry, image_id in zip(self.collection.entries, self.image_ids, strict=True)
            if image_id in reasons
        ]
        refuse_faults(gone, len(kept) + len(gone))
        return ReadImages(
            ImageCollection([self.collection.entries[i] for i in kept]),
            [self.image_ids[i] for i in kept],
            [self.places[i] for i in kept],
            (*self.skipped, *gone),
        )

    def duplicates(self) -> list[list[ImageEntry]]:
        """Groups of images with the same pixels, which share their results."""
        groups: dict[int, list[ImageEntry]] = {}
        for entry, image_id in zip(self.collection.entries, self.image_ids, strict=True):
            groups.setdefault(image_id, []).append(entry)
        return [group for group in groups.values() if len(group) > 1]

    def report(self, out: Path) -> int:
        """Name equal images and those that were left out on standard error, and write `SKIPPED_FILE`.

        Args:
            out: The folder of the results.

        Returns:
            The exit status of the command, 0 or `SOME_LEFT_OUT`.
        """
        if groups := self.duplicates():
            count = sum(len(group) - 1 for group in groups)
            have = "image has" if count == 1 else "images have"
            _list(f"{count} {have} the pixels of another and the same results:", list(map(_equal, groups)))
        path = out / SKIPPED_FILE
        if not self.skipped:
            path.unlink(missing_ok=True)
            return 0
        with open_csv(path) as write:
            write(["image", "reason"])
            for one in self.skipped:
                write([spreadsheet_safe(one.name, is_path=True), one.reason])
        self.list_skipped(f", see {path}")
        return SOME_LEFT_OUT

    def list_skipped(self, more: str = "") -> None:
        """Name the images that were left out on standard error, if any; `more` is where to find those not listed."""
        if self.skipped:
            total = len(self.collection) + len(self.skipped)
            head = f"{len(self.skipped)} of {total} images cannot be read and are left out:"
            _list(head, list(map(str, self.skipped)), more)


def read_images(collection: ImageCollection, *, strict: bool = False) -> ReadImages:
    """Decode every image once, divided among processes, and find those that cannot be read.

    Args:
        collection: The images.
        strict: Refuse images that cannot be read.

    Raises:
        ValueError: If no image can be read or, if strict, one cannot; the message names them.
    """
    processes = current_process()
    quiet = not processes.is_main or len(collection) < 1000
    places = progress_bar(
        range(processes.index, len(collection), processes.count), desc="read", unit="image", disable=quiet
    )
    shares = processes.gather([_read(collection, i) for i in places])
    found = [shares[i % processes.count][i // processes.count] for i in range(len(collection))]
    skipped = [one for one in found if isinstance(one, ImageFault)]
    refuse_faults(skipped, len(collection), strict=strict)
    ids = {i: one for i, one in enumerate(found) if not isinstance(one, ImageFault)}
    kept = ImageCollection([collection.entries[i] for i in ids])
    return ReadImages(kept, list(ids.values()), list(ids), tuple(skipped))


def _read(collection: ImageCollection, index: int) -> int | ImageFault:
    try:
        return content_id(to_tensor(collection[index]))
    except READ_ERRORS as error:
        return ImageFault.of(collection.entries[index].name, error)


def _equal(group: Sequence[ImageEntry]) -> str:
    """Names of equal images, with their labels where these differ."""
    differ = len({entry.truth for entry in group}) > 1
    names = [printable(f"{one.name} ({one.truth or 'no label'})" if differ else one.name) for one in group[:_LISTED]]
    more = f" and {len(group) - _LISTED} more" if len(group) > _LISTED else ""
    return " = ".join(names) + more + (", with different labels" if differ else "")


def _list(head: str, lines: Sequence[str], more: str = "") -> None:
    print(head, file=sys.stderr)
    for line in lines[:_LISTED]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > _LISTED:
        print(f"  and {len(lines) - _LISTED} more{more}", file=sys.stderr)
