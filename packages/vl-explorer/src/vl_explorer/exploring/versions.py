"""Near-duplicates in a store: images that are versions of an earlier one, which earn nothing and are not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vl_core.data import ImageError

from vl_explorer.learning.images import open_stored
from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.store.likeness.duplicates import Fingerprint, NearDuplicates, unit_length
from vl_explorer.store.store import Store


class Versions:
    """Images of a store that are versions of earlier ones, a function of the order in which images came.

    Args:
        store: Its images are known by their hashes; features are made where hashes are near.
        encoder: Makes the features, one and the same for the whole run.
    """

    def __init__(self, store: Store, encoder: ImageEncoder) -> None:
        self._store, self._encoder = store, encoder
        self._known = NearDuplicates(self._embed, load=self._load)
        self._found: set[str] = set()
        self._last = 0

    def follow(self) -> frozenset[str]:
        """SHA-256 of the versions among the images that are in the store by now."""
        for stored in self._store.images(self._last):
            self._last = stored.number
            near = self._known.has_near(stored.perceptual_hash)
            image = self._load(stored.sha256) if near else None
            own = Fingerprint(stored.perceptual_hash, None if image is None else unit_length(self._embed(image)))
            if image is not None and self._known.find(own) is not None:
                self._found.add(stored.sha256)
            else:
                self._known.add(stored.sha256, own)
        return frozenset(self._found)

    def _embed(self, image: Image.Image) -> NDArray[np.float32]:
        (row,) = self._encoder([image])
        return np.asarray(row, np.float32)

    def _load(self, digest: str) -> Image.Image | None:
        try:
            return open_stored(self._store.path(digest))
        except (ImageError, KeyError, OSError):  # Evicted, forgotten, or damaged on this disk.
            return None
