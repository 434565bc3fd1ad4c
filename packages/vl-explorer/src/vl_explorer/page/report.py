"""The page as one file that needs nothing else: no script, no other file, no network."""

from __future__ import annotations

import os
from collections.abc import Callable

from vl_core.runs import atomic_write

from vl_explorer.__about__ import __version__
from vl_explorer.page.sections import Images, sections
from vl_explorer.page.state import RunState, run_state
from vl_explorer.page.style import SCRIPT, STYLE, policy
from vl_explorer.page.texts import escaped
from vl_explorer.page.thumbnails import SIZE, as_data, thumbnail
from vl_explorer.store.store import Store

_MOST = 500  # images of a page


def write_report(
    path: str | os.PathLike[str],
    store: Store,
    run: str | None = None,
    *,
    images: int = 60,
    size: int = SIZE,
) -> None:
    """Write what a run has done so far as one HTML file.

    The file holds the best concepts, rewards and accuracy over the iterations, refusals, settings, and a wall of the
    best images, each with its page, author, license and query. Small versions of them, encoded anew, stand in the
    file. It asks nobody for anything, and texts from the web are shown as texts.

    Args:
        path: File to write or replace.
        store: Store with the run; it may be read only, and written to by an explorer meanwhile.
        run: Name of the run; may be left out where the store holds one.
        images: Images of the wall, at most 500.
        size: Pixels of the longer side of each.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If there is no such run, or a number is out of range.

    Example:
        >>> with Store("found") as store:
        ...     _ = store.add_run("birds", {"iterations": 10})
        ...     write_report("report.html", store)
    """
    if not 0 <= images <= _MOST:
        raise ValueError(f"images must lie in 0..{_MOST}, got {images}; export the store for more")
    if not 16 <= size <= 640:
        raise ValueError(f"size must lie in 16..640 pixels, got {size}")
    state = run_state(store, run, images=images)
    text = report_html(state, lambda digest: as_data(thumbnail(store, digest, size=size)))
    with atomic_write(path) as file:
        file.write(text)


def report_html(state: RunState, images: Images) -> str:
    """The page of a state as one file.

    Args:
        state: To be shown.
        images: Address of an image by its SHA-256: a ``data:`` address, or None.
    """
    return page_html(state, images)


def page_html(state: RunState, images: Callable[[str], str | None], *, seconds: float | None = None) -> str:
    """The page of a state, of a file or of the server.

    Args:
        state: To be shown.
        images: Address of an image by its SHA-256, or None.
        seconds: Between two looks of the served page for news; None for a file.
    """
    served = seconds is not None
    title = escaped(state.name, 120)
    return "\n".join([
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "" if served else f'<meta http-equiv="Content-Security-Policy" content="{policy(served=False)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">' if not served else
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="icon.svg">',
        f"<title>{title} – vl-explorer</title><style>{STYLE}</style></head><body>",
        f'<header><h1>{title}</h1><p id="lost" role="alert" hidden></p></header>',
        f'<main data-seconds="{seconds:g}">' if seconds is not None else "<main>",
        sections(state, images),
        "</main>",
        f"<footer>vl-explorer {escaped(__version__)}. Images and texts belong to those who are named; each links to "
        "the page where it was found.</footer>",
        f"<script>{SCRIPT}</script>" if served else "",
        "</body></html>",
        "",
    ])  # fmt: skip
