"""A model given by a table of scores, which remembers what it was asked."""

import numpy as np
import pytest


class TableScorer:
    """Scores by image (a row number) and text (its place in a list)."""

    def __init__(self, scores, texts):
        self.scores, self.texts = np.asarray(scores), list(texts)
        self.blocks = []
        self.asked = []

    def score(self, images, texts):
        self.blocks.append((len(images), len(texts)))
        self.asked += images
        return self.scores[np.ix_(list(images), [self.texts.index(text) for text in texts])]


@pytest.fixture
def table():
    return TableScorer
