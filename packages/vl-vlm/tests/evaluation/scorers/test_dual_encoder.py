"""Cosines of two encoders: by the formula, each text encoded once, ties kept."""

import numpy as np
import pytest
import torch
from vl_vlm import from_dual_encoder

IMAGES = list(np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32))
WORDS = dict(zip("abcdef", np.random.default_rng(1).normal(size=(6, 7)), strict=True))


@pytest.fixture
def encoders():
    calls = {"images": 0, "texts": []}

    def encode_image(images):
        calls["images"] += len(images)
        return torch.tensor(np.stack(images))

    def encode_text(texts):
        calls["texts"] += texts
        return np.stack([WORDS[text] for text in texts])

    return encode_image, encode_text, calls


def cosine(image, text):
    return float(image @ text / np.linalg.norm(image) / np.linalg.norm(text))


def test_scores_are_cosines_and_features_are_reused(encoders):
    *functions, calls = encoders
    scorer = from_dual_encoder(*functions)
    expected = [[cosine(image, WORDS[text]) for text in "abcdef"] for image in IMAGES]
    halves = [scorer.score(IMAGES, list("abc")), scorer.score(IMAGES, list("def"))]
    np.testing.assert_allclose(np.concatenate(halves, 1), expected, atol=1e-6)
    scorer.score(IMAGES[:2], list("fa"))
    assert calls["texts"] == list("abcdef")
    assert calls["images"] == 5 + 2  # the same list is encoded once


def test_pairs_are_the_diagonal_and_an_image_is_encoded_once(encoders):
    *functions, calls = encoders
    scorer = from_dual_encoder(*functions)
    images = [IMAGES[0], IMAGES[1], IMAGES[0], IMAGES[1]]
    pairs = scorer.score_pairs(images, list("aabb"))
    assert calls["images"] == 2
    np.testing.assert_array_equal(pairs, scorer.score(images, list("aabb")).diagonal())


def test_a_group_is_the_direction_of_its_mean_unit_feature(encoders):
    scorer = from_dual_encoder(*encoders[:2])
    unit = {text: row / np.linalg.norm(row) for text, row in WORDS.items()}
    expected = [[cosine(image, unit[a] + unit[b]) for a, b in ("ab", "cd")] for image in IMAGES]
    np.testing.assert_allclose(scorer.score_groups(IMAGES, ["ab", "cd"]), expected, atol=1e-6)


def test_few_cached_texts_change_no_score(encoders):
    small, large = (from_dual_encoder(*encoders[:2], cached_texts=count) for count in (0, 100))
    for texts in (list("abc"), list("cdef")):
        np.testing.assert_array_equal(small.score(IMAGES, texts), large.score(IMAGES, texts))


@pytest.mark.parametrize("size", [3, 64, 257])
def test_equal_features_tie_wherever_they_stand(size):
    row = np.random.default_rng(size).normal(size=size).astype(np.float32)
    scorer = from_dual_encoder(lambda images: np.stack(images), lambda texts: np.tile(row, (len(texts), 1)))
    images = [row[::-1].copy() for _ in range(37)]
    assert len(np.unique(scorer.score(images, [str(n) for n in range(53)]))) == 1
