"""Rows and files brought together after a kill, and a check that they are.

A file is moved to its place just before its row is committed, and a row goes before its file is removed. Whatever a
kill leaves is therefore a file without a row. A power cut may in rare cases leave a row whose file was not yet on the
disk; that row goes too, and its URL may be downloaded again.
"""

from __future__ import annotations

from hashlib import sha256

from vl_explorer.store.disk.database import Database
from vl_explorer.store.disk.files import ImageFiles

_STORED = "SELECT sha256, extension FROM images WHERE stored AND sha256 >= ? AND sha256 < ?"
_PREFIXES = tuple(f"{number:02x}" for number in range(256))


def recover(database: Database, files: ImageFiles) -> tuple[int, int]:
    """Remove files without a row and rows without a file; other processes may be writing meanwhile.

    Returns:
        Number of files removed, temporary ones among them, and number of rows.
    """
    removed, lost = files.remove_incoming(), 0
    for prefix in _PREFIXES:
        if _in_rows(database, prefix) == files.names(prefix):
            continue
        # Looked at again with the lock: no other process is then between a file and its row.
        with database.writing() as connection:
            there, known = files.names(prefix), _in_rows(database, prefix)
            for digest, extension in there - known:
                files.remove(digest, extension)
            connection.executemany("DELETE FROM images WHERE sha256 = ?", [(digest,) for digest, _ in known - there])
            removed, lost = removed + len(there - known), lost + len(known - there)
    return removed, lost


def find_faults(database: Database, files: ImageFiles, *, contents: bool = False) -> list[str]:
    """Faults of a store at rest, each in a line; none in a whole one.

    Args:
        database: Of the store.
        files: Of the store.
        contents: Read every file, and compare its content with its name.
    """
    found = [f"database: {line}" for (line,) in database.rows("PRAGMA integrity_check") if line != "ok"]
    found += [
        f"database: row {row[1]} of {row[0]} lacks its {row[2]}" for row in database.rows("PRAGMA foreign_key_check")
    ]
    sizes = database.row("SELECT (SELECT bytes FROM disk), (SELECT coalesce(sum(size), 0) FROM images WHERE stored)")
    if sizes is not None and sizes[0] != sizes[1]:
        found.append(f"database: images take {sizes[1]} bytes, {sizes[0]} are counted")
    for prefix in _PREFIXES:
        there, known = files.names(prefix), _in_rows(database, prefix)
        found += [f"{files.path(*name)} has no row" for name in sorted(there - known)]
        found += [f"{files.path(*name)} is missing" for name in sorted(known - there)]
        if contents:
            whole = sorted(there & known)
            found += [
                f"{files.path(*name)} has other content"
                for name in whole
                if sha256(files.path(*name).read_bytes()).hexdigest() != name[0]
            ]
    return found


def _in_rows(database: Database, prefix: str) -> set[tuple[str, str]]:
    # "g" follows every hexadecimal digit.
    return {(str(digest), str(ext)) for digest, ext in database.rows(_STORED, (prefix, prefix + "g"))}
