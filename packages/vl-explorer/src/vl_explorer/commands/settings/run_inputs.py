"""Checks of what `vl-explorer run` reads, without PyTorch: vocabulary, labels, encoder, engine and its key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vl_core.data import check_images

VOCABULARIES = ("glove", "wordnet")
ENCODERS = ("distilled", "imagenet", "random", "pixels")
KEYS = {"flickr": "FLICKR_API_KEY", "serpapi": "SERPAPI_API_KEY", "brave": "BRAVE_API_KEY"}
"""Environment variables of the keys without which an engine gives nothing."""


def check_vocabulary(name: str) -> None:
    """Check that there is such a vocabulary.

    Raises:
        OSError: If it is a file or WordNet, and is not there.
        ValueError: If the file is malformed.
    """
    from vl_explorer.vocabulary.concepts import Vocabulary
    from vl_explorer.vocabulary.wordnet import find_wordnet

    if name == "wordnet":
        find_wordnet()
    elif name not in VOCABULARIES:
        path = Path(name).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"--vocabulary must be {', '.join(VOCABULARIES)} or a file, got {name}")
        Vocabulary.read(path)


def read_labels(given: Sequence[str]) -> tuple[str, ...]:
    """Names of what images show, with ``@FILE`` replaced by its lines that are not empty.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a name is empty or comes twice, or a file is not UTF-8.
    """
    names: list[str] = []
    for name in given:
        if not name.startswith("@"):
            names.append(name.strip())
            continue
        path = Path(name[1:]).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"--labels must be names or @FILE, got {name}, and there is no such file")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"--labels must be names or @FILE, got {name}, whose byte {error.start} is not UTF-8; save it as UTF-8"
            ) from None
        names += [line.strip() for line in lines if line.strip()]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"--labels must be different names, got {', '.join(map(repr, names))[:200]}")
    return tuple(names)


def check_encoder(name: str) -> None:
    """Check that there is such an encoder.

    Raises:
        OSError: If it is a folder, and is not there.
        ValueError: If the folder holds no backbone.
    """
    if name in ENCODERS:
        return
    folder = Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(f"--start-encoder must be {', '.join(ENCODERS)} or a folder, got {name}")
    files = ("config.json", "model.safetensors")
    if not any(all((place / file).is_file() for file in files) for place in (folder, folder / "model")):
        raise ValueError(f"--start-encoder must be a folder with {' and '.join(files)}, of vl-ssl train, got {name}")


def check_engine_source(engine: str, source: str | None) -> None:
    """Check what an engine is made from, and that its key is there.

    Raises:
        OSError: If a file does not exist.
        ValueError: If it is of another kind, or there is no key.
    """
    from vl_explorer.search.engine import SearchError
    from vl_explorer.search.http.description import checked_description
    from vl_explorer.search.http.keys import Key

    variable = KEYS.get(engine)
    if engine == "captions" and source is not None:
        check_images([source], "--engine-source", files=False)
    elif engine == "url-list" and source is not None and not Path(source).exists():
        raise FileNotFoundError(f"--engine-source must be a Parquet file or a folder of them, got {source}")
    elif engine == "json" and source is not None:
        from vl_core.files import read_json

        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"--engine-source must be a JSON description, got {source}")
        described = checked_description(read_json(path))
        variable = described.key.environment if described.key is not None else None
    if variable is not None:
        try:
            Key(variable, engine)
        except SearchError as error:
            raise ValueError(f"--engine {engine} needs its key: {error}") from None
