"""A small web of colored images, and runs over it, for tests of the loop.

Each of 40 words has six images; words 0 to 9 are reddish like the target, and their embeddings are near each other. As
a script, `python explorer_loop.py FOLDER` runs an explorer in a process of its own, which may be killed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vl_explorer.exploring.explorer import Explorer
from vl_explorer.exploring.settings import Exploration
from vl_explorer.learning.learner import read_state, write_state
from vl_explorer.models.gaussian_process import GaussianProcess
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.vocabulary.concepts import Vocabulary

WORDS, IMAGES, RELEVANT = 40, 6, 10
SETTINGS = Exploration(
    iterations=4, queries=5, results=IMAGES, min_results=2, neighbors=3, top=3, tiers=(8, 12), replay_capacity=20
)


def colored(number, word):
    """An image of 64 random fields, reddish for a relevant word and bluish for others."""
    fields = np.random.default_rng([number, word]).integers(0, 120, (8, 8, 3))
    fields[..., 0 if word < RELEVANT else 2] += 130
    return Image.fromarray(fields.astype(np.uint8))


class Colors:
    """Data set of the web."""

    def __init__(self):
        self.names = [f"{word}-{number}" for word in range(WORDS) for number in range(IMAGES)]
        self.metadata = None

    def __len__(self):
        return WORDS * IMAGES

    def __getitem__(self, place):
        return colored(place % IMAGES, place // IMAGES), 0


def engine(web=None):
    captions = [f"word{place // IMAGES:02d}" for place in range(WORDS * IMAGES)]
    return CaptionEngine(captions, images=web or Colors(), name="colors")


def vocabulary():
    return Vocabulary.of(f"word{word:02d}" for word in range(WORDS))


def model():
    noise = np.random.default_rng(0).normal(size=(WORDS, 8)) * 0.3
    noise[:RELEVANT, 0] += 1
    noise[RELEVANT:, 1] += 1
    return GaussianProcess(noise / np.linalg.norm(noise, axis=1, keepdims=True))


class Means:
    """Encoder by mean colors; after each training it sees them a little more sharply."""

    def __init__(self, trained=0):
        self.name, self._power = f"means-{trained}", 1 + trained / 4

    def __call__(self, images):
        rows = np.array([np.asarray(image.convert("RGB")).reshape(-1, 3).mean(0) for image in images])
        rows = (rows / 255) ** self._power
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Counting:
    """Learner that counts its trainings, and writes down what it was shown."""

    def __init__(self):
        self.updates, self.shown = 0, {}

    def describe(self):
        return {"learner": "counting"}

    def encoder(self):
        return Means(self.updates)

    network = encoder

    def train(self, images, iteration, folder, *, progress=False):
        assert images[0].mode == "RGB"
        self.shown[iteration] = list(images.names)
        self.updates += 1

    def save(self, folder):
        write_state(folder, self.describe(), self.updates)

    def load(self, folder):
        self.updates = read_state(folder, self.describe())


def explorer(out, *, learner=None, settings=SETTINGS, web=None, **options):
    target = [colored(number, 0) for number in range(100, 108)]
    options = {"model": model(), "deduplicate": False, **options}
    return Explorer(target, vocabulary(), engine(web), learner or Counting(), out=out, settings=settings, **options)


def relevant(store, query):
    """Share of the results of a query that are of relevant words."""
    results = store.results(query.id)
    return sum(int(result.url.rpartition("/")[2]) < RELEVANT * IMAGES for result in results) / max(1, len(results))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print("started", flush=True)
    with explorer(folder) as run:
        summaries = run.run(progress=False)
    (folder / "summaries.json").write_text(json.dumps([summary.to_json() for summary in summaries]))
