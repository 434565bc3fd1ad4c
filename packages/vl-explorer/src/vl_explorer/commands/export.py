"""`vl-explorer export`: the images of a store for others to use."""

from __future__ import annotations

from vl_explorer.commands.settings.export import Export
from vl_explorer.page.state import find_run
from vl_explorer.store.rights.export import export
from vl_explorer.store.store import Store


def run(settings: Export) -> None:
    """Export the images, and say how many were left out.

    Raises:
        ModuleNotFoundError: If Parquet is asked for and pyarrow is not installed.
        OSError: If a file cannot be written.
        ValueError: If a license is not allowed, nothing is left, the folder is not empty, or there is no such run.
    """
    settings.check()
    with Store(settings.store, busy_seconds=settings.busy_seconds) as store:
        images = None
        if settings.best is not None:
            images = store.best_images(find_run(store, settings.run).id, settings.best)
        done = export(
            store,
            settings.out,
            format=settings.format,
            allow=settings.allowed,
            leave_out=settings.leave_out,
            images=images,
            images_per_file=settings.images_per_file,
        )
    if done.left_out:
        print(f"left out {done.left_out:,} images, whose licenses are not among {', '.join(settings.allowed)}")
    files = "images" if settings.format == "folder" else f"images in {len(done.files):,} files"
    print(f"wrote {done.images:,} {files} and manifest.jsonl to {settings.out}")
