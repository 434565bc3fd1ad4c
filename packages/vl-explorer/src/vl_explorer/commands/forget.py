"""`vl-explorer forget`: takedown."""

from __future__ import annotations

from vl_core.tables import printable

from vl_explorer.commands.settings.forget import Forget
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.store import Store


def run(settings: Forget) -> None:
    """Take all targets down, one after the other.

    Raises:
        OSError: If the store cannot be written to.
        ValueError: If a target is neither an address nor a hash; nothing is removed then.
    """
    settings.check()
    removed = 0
    with Store(settings.store, busy_seconds=settings.busy_seconds) as store:
        for target in settings.targets:
            done = forget(store, target)
            removed += done.images
            print(f"{printable(target)}: {done.images:,} images and {done.results:,} results removed", flush=True)
    print(f"{len(settings.targets):,} targets are kept out of {settings.store} from now on")
    if removed:
        print("report.html, wall.png, exports and networks made before are not changed: make them anew")
