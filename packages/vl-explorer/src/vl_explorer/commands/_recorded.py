"""Settings of `vl-explorer run` that are kept with the run in its store, and what `retry` makes of them again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vl_core.data import BUILTIN_NAMES, open_dataset
from vl_core.files import read_json

from vl_explorer.commands.settings.run import LOCAL, Run
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.likeness.duplicates import NearDuplicates, fingerprint
from vl_explorer.store.store import Store
from vl_explorer.worlds.opening import open_world

_TEST_IMAGES = "test_images"


def to_record(settings: Run) -> dict[str, Any]:
    """Guard, strictness and sources of a run by name, as JSON keeps them, with absolute paths."""
    return {
        _TEST_IMAGES: _absolute(settings.test_images),
        "strict": settings.strict,
        "world": settings.world_name,
        "world_target": settings.target_name,
        "engine_source": _absolute(settings.source),
    }


def recorded(store: Store, folder: Path) -> list[Mapping[str, Any]]:
    """Settings of all runs of a store, each with those of `to_record` and the name of its ``"engine"``.

    Runs of earlier versions lack the former; those of the run whose folder has the store are read from its
    ``config.json`` then.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is malformed.
    """
    found = [run.settings for run in store.runs()]
    path = folder / "config.json"
    if (not found or any(_TEST_IMAGES not in each for each in found)) and path.is_file():
        config: Mapping[str, Any] = read_json(path, dict)
        source = config.get("engine_source") if config.get("engine") == LOCAL else None
        changes = {"engine": None, "engine_source": source, "world_target": config.get("target")}
        found.append({**config, **changes})
    return found


def open_engines(runs: Iterable[Mapping[str, Any]], wanted: Iterable[str]) -> dict[str, CaptionEngine]:
    """Engines of local addresses by the names in these, as far as the runs have them.

    Args:
        runs: From `recorded`.
        wanted: Names of engines, as in ``local:NAME/NUMBER``.

    Raises:
        ValueError: If the data set of one cannot be opened.
    """
    left = set(wanted)
    found: dict[str, CaptionEngine] = {}
    for run in runs:
        name = run.get("engine")
        if left and (name is None or name in left):  # of an earlier version the name is not known
            engine = _open_engine(run)
            if engine is not None and engine.name in left:
                found[engine.name] = engine
                left.remove(engine.name)
    return found


def _open_engine(run: Mapping[str, Any]) -> CaptionEngine | None:
    source, world = run.get("engine_source"), run.get("world")
    try:
        if source is not None:
            return CaptionEngine.open(source)
        return None if world is None else open_world(world, target=run.get("world_target")).engine
    except (OSError, ValueError) as error:
        raise ValueError(f"--engine-source must be given, since that of the run cannot be opened: {error}") from error


def open_guard(runs: Iterable[Mapping[str, Any]], given: str | None) -> NearDuplicates:
    """Test images of all runs and others, by hash alone, which keeps out too many rather than too few.

    Args:
        runs: From `recorded`.
        given: Further test images, without which those of every run must be there.

    Raises:
        OSError: If the given ones are missing.
        ValueError: If images of a run cannot be opened and none are given, or one cannot be read.
    """
    guard = NearDuplicates()
    specs: Sequence[str] = sorted({str(run[_TEST_IMAGES]) for run in runs if run.get(_TEST_IMAGES)})
    for spec in dict.fromkeys((*([] if given is None else [given]), *specs)):
        try:
            dataset = open_dataset(spec, default_split="test")
            for place in range(len(dataset)):
                guard.add((spec, place), fingerprint(dataset[place][0]))
        except (OSError, ValueError) as error:
            if spec == given:
                raise
            if given is None:
                raise ValueError(
                    f"--test-images must be given, since those of the run cannot be opened: {error}"
                ) from error
    return guard


def _absolute(source: str | None) -> str | None:
    """The source, a path as an absolute one; names of data sets stay as they are."""
    if source is None or source in BUILTIN_NAMES or source.startswith("hf:"):
        return source
    return os.path.abspath(source)  # noqa: PTH100
