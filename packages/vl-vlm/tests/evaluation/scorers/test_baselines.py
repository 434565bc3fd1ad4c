"""Models that see nothing."""

from math import log

import numpy as np
import pytest
from vl_vlm import ConstantBaseline, UnigramBaseline


def test_the_constant_model_ties_everything():
    np.testing.assert_array_equal(ConstantBaseline().score([0, 1], list("abc")), np.zeros((2, 3)))


def test_unigrams_by_hand():
    model = UnigramBaseline(["a cat", "A dog!"])  # a a cat dog !, and one for each of four words and the unknown one
    assert model.log_prob("a cat") == pytest.approx(log(3 / 10) + log(2 / 10))
    assert model.log_prob("ibex") == pytest.approx(log(1 / 10))
    assert sum(np.exp(model.log_prob(word)) for word in ["a", "cat", "dog", "!", "ibex"]) == pytest.approx(1)


def test_anagrams_tie_exactly_and_images_are_ignored():
    words = ["the", "quick", "brown", "fox", "jumps", "over", "one", "lazy", "dog"]
    model = UnigramBaseline([" ".join(words), "a fox", "a lazy fox"])
    texts = [" ".join(np.random.default_rng(seed).permutation(words)) for seed in range(50)]
    assert len(np.unique(model.score([0, 1, 2], texts))) == 1


def test_without_captions_all_texts_are_equally_probable():
    assert len(np.unique(UnigramBaseline().score([0], ["a", "a long text"]))) == 1
