"""Captions files: JSON in COCO's, Karpathy's and plainer forms, JSON lines, and CSV or TSV."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vl_core.files import parse_json
from vl_core.tables import printable

from vl_vlm.captions.texts import CAPTION_KEYS, CaptionError, decode

TABLE_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")

FILE_KEYS = ("file_name", "filename", "filepath", "image", "image_name", "image_path", "path", "file")
"""Names of the fields and columns that hold the file of an image, in order of preference."""


class Entry(NamedTuple):
    """One row: the file of an image, its caption or list of captions as found, and its split."""

    file: str
    captions: Any
    split: str | None = None


@dataclass
class Table:
    """The rows of a captions file, and those that belong to no image."""

    entries: list[Entry]
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_table(path: Path, caption_column: str | None = None, image_column: str | None = None) -> Table:
    """Read a captions file.

    Args:
        path: ``.json``: COCO's ``{"images": …, "annotations": …}``, a list of records, ``{"images": [records]}`` as
            Karpathy's splits are published, or ``{file: caption or captions}``. ``.jsonl``: a record a line.
            ``.csv``, ``.tsv``: a header, then a record a row.
        caption_column: Field of the caption or captions; by default the first there is of `CAPTION_KEYS`.
        image_column: Field of the file; by default the first there is of `FILE_KEYS`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another form; the message names the line or record.
    """
    try:
        text = decode(path.read_bytes())
    except CaptionError as error:
        raise ValueError(f"{path} {error}") from None
    keys = _Keys(path, image_column, caption_column)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        records: Iterable[tuple[str, Any]] = (
            (f"line {number}", parse_json(line, f"line {number} of {path}"))
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        )
        return Table([keys.entry(record, where) for where, record in records])
    if suffix in (".csv", ".tsv"):
        rows = _rows(path, text, "\t" if suffix == ".tsv" else "", keys)
        return Table([keys.entry(record, where) for where, record in rows])
    return _from_json(path, text, keys)


def _from_json(path: Path, text: str, keys: _Keys) -> Table:
    content = parse_json(text, str(path))
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        if isinstance(content.get("annotations"), list):
            return _from_coco(path, content["images"], content["annotations"], keys)
        content = content["images"]
    if isinstance(content, list):
        return Table([keys.entry(record, f"record {place}") for place, record in enumerate(content)])
    if isinstance(content, dict):
        # The parser keeps the last of several equal names.
        names = json.loads(text, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
        if len(names) > len(content):
            raise ValueError(f"{path} must name each file once, got {Counter(names).most_common(1)[0][0]!r} again")
        return Table(
            [
                Entry(file, keys.captions(value, file) if isinstance(value, dict) else value)
                for file, value in content.items()
            ]
        )
    raise ValueError(
        f"{path} must hold COCO's images and annotations, a list of records, or captions by file, got "
        f"{type(content).__name__}"
    )


def _from_coco(path: Path, images: Sequence[Any], annotations: Sequence[Any], keys: _Keys) -> Table:
    captions: dict[Any, list[Any]] = {}
    files: dict[Any, str] = {}
    for place, image in enumerate(images):
        number = image.get("id") if isinstance(image, dict) else None
        if not isinstance(number, int | str) or number in files:
            raise ValueError(f"{path} must give each image an id of its own, got {number!r} in image {place}")
        files[number] = keys.file(image, f"image {place}")
        captions[number] = []
    skipped = []
    for place, annotation in enumerate(annotations):
        number = annotation.get("image_id") if isinstance(annotation, dict) else None
        if isinstance(number, int | str) and number in captions:
            captions[number].append(keys.captions(annotation, f"annotation {place}"))
        else:
            skipped.append((f"annotation {place}", f"of {path.name} belongs to image {number!r}, which is not listed"))
    return Table([Entry(files[number], own) for number, own in captions.items()], skipped)


def _rows(path: Path, text: str, delimiter: str, keys: _Keys) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV file by column, with their place; where no delimiter is given, the header tells it."""
    header = text.partition("\n")[0]
    # open_clip writes tabs into files named .csv, and Flickr30k has bars.
    delimiter = delimiter or next((mark for mark in ",\t|" if mark in header), ",")
    # Strict, so that a quotation mark that is never closed is an error instead of one long caption.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [cell.strip() for cell in next(reader, [])]
        if len(set(columns)) < len(columns):
            raise ValueError(f"{path} must name each column once, got {printable(', '.join(columns)[:200])}")
        # Also where no row follows: the first one may stand where the header should.
        keys.entry(dict.fromkeys(columns, "name"), "its header")
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                raise ValueError(
                    f"{path} must have {len(columns)} cells in each row, got {len(row)} in line {reader.line_num}; put "
                    f"a caption that holds {delimiter!r} into quotation marks"
                )
            yield f"line {reader.line_num}", dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read in line {reader.line_num}: {error}") from None


class _Keys:
    """Finds file, captions and split in a record."""

    def __init__(self, path: Path, image: str | None, caption: str | None) -> None:
        self._path = path
        self._files = FILE_KEYS if image is None else (image,)
        self._captions = CAPTION_KEYS if caption is None else (caption,)

    def entry(self, record: Any, where: str) -> Entry:
        """One record.

        Raises:
            ValueError: If it lacks the file or the field of captions.
        """
        split = record.get("split") if isinstance(record, dict) else None
        return Entry(self.file(record, where), self.captions(record, where), split if isinstance(split, str) else None)

    def file(self, record: Any, where: str) -> str:
        """The file of a record."""
        record = self._mapping(record, where)
        if {"filepath", "filename"} <= record.keys() and "filename" in self._files:
            # Karpathy's files of COCO: a folder and a name.
            return f"{record['filepath']}/{record['filename']}"
        value = self._first(record, self._files, "the file of its image", where)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{self._path} must name a file in {where}, got {str(value)[:80]!r}")
        return value.strip()

    def captions(self, record: Any, where: str) -> Any:
        """The captions of a record, as they are there."""
        return self._first(self._mapping(record, where), self._captions, "captions", where)

    def _mapping(self, record: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(record, dict):
            raise ValueError(f"{self._path} must hold records with names, got {str(record)[:80]!r} in {where}")
        return record

    def _first(self, record: Mapping[str, Any], keys: Sequence[str], what: str, where: str) -> Any:
        there = [key for key in keys if key in record]
        if there:
            return next((record[key] for key in there if record[key] is not None), None)
        raise ValueError(
            f"{self._path} must have {what} as {' or '.join(keys)}, got {printable(', '.join(map(str, record))[:200])} "
            f"in {where}; name another field by image_column or caption_column"
        )
