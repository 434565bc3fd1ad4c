"""Embeddings by sentence-transformers (extra ``text``), as in the paper, which uses a model of 384 numbers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vl_explorer.embeddings.embedder import checked_texts, unit_rows


class SentenceTransformerEmbedder:
    """Text embedder by a sentence-transformers model; a `TextEmbedder`.

    Args:
        source: A folder with the model; or the import name of an installed package that ships one; or the name of a
            model on the hub, which must be in the local cache unless `download` is set.
        download: Let sentence-transformers download the model.
        device: Of PyTorch, by default what sentence-transformers chooses.
        batch_size: Texts at once.
        progress: Show a progress bar.

    Raises:
        ImportError: If sentence-transformers is not installed.
        FileNotFoundError: If the model is not on this machine and `download` is not set.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        download: bool = False,
        device: str | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                "SentenceTransformerEmbedder needs sentence-transformers; `pip install vl-explorer[text]`"
            ) from error
        place = _place_of(str(source))
        try:
            self._model = SentenceTransformer(place, device=device, local_files_only=not download)
        except OSError as error:
            if download:
                raise
            raise FileNotFoundError(
                f"{source} is no folder with a model, no installed package that ships one, and not in the local cache; "
                "give its folder, or download=True to fetch it"
            ) from error
        self.name = f"sentence-transformers:{Path(place).name if Path(place).is_dir() else place}"
        self.batch_size = batch_size
        self.progress = progress

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings ``(N, d)`` of N texts, of unit length.

        Raises:
            TypeError: If the texts are one text, or not all are texts.
        """
        rows = self._model.encode(
            checked_texts(texts), batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=self.progress
        )
        return unit_rows(np.asarray(rows, np.float32))


def _place_of(source: str) -> str:
    """Folder of a model inside an installed package of this name, else the source itself."""
    if Path(source).is_dir() or not source.isidentifier():
        return source
    spec = importlib.util.find_spec(source)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        # The marker of a sentence-transformers model; the uppermost folder is the model, those below its modules.
        if found := sorted(Path(folder).rglob("modules.json"), key=lambda path: len(path.parts)):
            return str(found[0].parent)
    return source
