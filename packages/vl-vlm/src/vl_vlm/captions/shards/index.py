"""The samples of one tar file: where their images lie, and their captions.

Members are looked at by their headers alone, in one pass that jumps over the images; nothing is extracted. Names are
keys and never paths, whatever they hold. Members other than images and captions, pickles among them, are not read.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from vl_core.files import parse_json
from vl_core.tables import utf8

from vl_vlm.captions.texts import CaptionError, captions_of, decode, lines

IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp")

_TEXT_BYTES = 16 * 1024**2
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


class Sample(NamedTuple):
    """One whole sample of a shard."""

    key: str
    offset: int
    """First byte of the image within the shard."""
    size: int
    """Bytes of the image."""
    captions: list[str]


@dataclass
class ShardIndex:
    """The samples of one shard in their order, and what cannot be used."""

    samples: list[Sample] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Key and reason; the key is empty where the shard itself is damaged."""
    size: int = 0
    """Bytes of the whole file."""


class DamagedError(ValueError):
    """Raised where a tar file does not go on; the message goes on after its name."""


def index_shard(path: Path) -> ShardIndex:
    """Find the samples of a shard.

    A sample is what has the same key: the name of a member up to the first dot behind its folder, lying together or
    not. Its image ends in one of `IMAGE_ENDINGS`. Its captions are the list ``captions`` of a ``.json``, or else the
    lines of a ``.txt``, or else the text ``caption`` or ``text`` of the ``.json``.

    Where the file was cut short or is damaged, the samples before that place stay.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is compressed.
    """
    found: dict[str, _Parts] = {}
    with path.open("rb") as file:
        result = ShardIndex(size=os.fstat(file.fileno()).st_size)
        _refuse_compressed(file, path)
        damage = ""
        try:
            for member in _members(file, result.size):
                _add(found, member, file)
        except DamagedError as error:
            damage = str(error)
    for key, parts in found.items():
        try:
            result.samples.append(parts.sample(key))
        except CaptionError as error:
            result.skipped.append((key, str(error)))
    if damage:
        last = f"the last of them {result.samples[-1].key!r}" if result.samples else "so none"
        result.skipped.insert(
            0, ("", f"{damage}; it has {len(result.samples)} whole samples before that place, {last}; fetch it again")
        )
    return result


@dataclass
class _Parts:
    """Parts of one sample that were found so far."""

    images: list[tuple[str, int, int]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def sample(self, key: str) -> Sample:
        """The sample.

        Raises:
            CaptionError: If it has not one image, or no caption.
        """
        if self.faults:
            raise CaptionError(self.faults[0])
        if not self.images:
            raise CaptionError("has a caption and no image")
        if len(self.images) > 1:
            raise CaptionError(f"has {len(self.images)} images ({', '.join(image[0] for image in self.images)})")
        return Sample(key, *self.images[0][1:], self._captions())

    def _captions(self) -> list[str]:
        record: dict[str, Any] = {}
        if "json" in self.texts:
            try:
                content = parse_json(decode(self.texts["json"]), "its .json")
            except CaptionError:
                raise
            except ValueError as error:
                raise CaptionError(f"cannot be read: {error}") from None
            record = content if isinstance(content, dict) else {}
        if isinstance(record.get("captions"), list):
            return captions_of(record["captions"])
        if "txt" in self.texts:
            return captions_of(lines(decode(self.texts["txt"])))
        if not self.texts:
            raise CaptionError("has an image and no caption, neither .txt nor .json")
        return captions_of(record.get("caption", record.get("text")))


def _add(found: dict[str, _Parts], member: tarfile.TarInfo, file: IO[bytes]) -> None:
    """Note a member where it belongs to a sample."""
    folder, slash, base = member.name.rpartition("/")
    stem, dot, ending = base.partition(".")
    ending = ending.lower()
    if not stem or not dot or ending not in (*IMAGE_ENDINGS, "txt", "json"):
        return
    parts = found.setdefault(utf8(f"{folder}{slash}{stem}"), _Parts())
    if not member.isreg() or member.issparse():
        parts.faults.append(f"has a .{ending} that is a link or no plain file; pack the file itself")
    elif ending in IMAGE_ENDINGS:
        parts.images.append((ending, member.offset_data, member.size))
    elif ending in parts.texts:
        parts.faults.append(f"has two .{ending}; each key may stand once in a shard")
    elif member.size > _TEXT_BYTES:
        parts.faults.append(f"has a .{ending} of {member.size:,} bytes, more than the {_TEXT_BYTES:,} of a caption")
    else:
        file.seek(member.offset_data)
        parts.texts[ending] = file.read(member.size)


def _members(file: IO[bytes], size: int) -> Iterator[tarfile.TarInfo]:
    """Members of a tar file that lie in it whole.

    Python's reader takes a damaged header, or a file that ends after a member, for the end of the archive; here only
    the block of zeros is one.

    Raises:
        DamagedError: At the place where it does not go on.
    """
    start = 0
    try:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                if member.offset_data + member.size > size and member.isreg():
                    raise DamagedError(f"is cut short within {member.name!r}, at byte {size:,}")
                if archive.offset <= start:
                    raise DamagedError(f"is damaged at byte {start:,}")
                start = archive.offset
                yield member
                # It keeps all that it has read.
                archive.members = []  # type: ignore[attr-defined]
            start = archive.offset
    except DamagedError:
        raise
    except Exception as error:  # for damaged headers the reader raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedError(f"is cut short or damaged behind byte {min(start, size):,} ({reason})") from None
    file.seek(start)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise DamagedError(f"is cut short at byte {size:,}, before the mark of its end")
    if any(block):
        raise DamagedError(f"is damaged at byte {start:,}, where a member should begin")
    while rest := file.read(1024**2):
        if any(rest):
            raise DamagedError(f"goes on behind the mark of its end at byte {start:,}, like several that were joined")


def _refuse_compressed(file: IO[bytes], path: Path) -> None:
    head = file.read(6)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path} is compressed by {kind}, in which no sample can be read by its position; decompress it first "
                "(the images in it are compressed already)"
            )
