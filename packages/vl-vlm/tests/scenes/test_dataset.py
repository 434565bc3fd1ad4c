"""Scenes as a data set: pure functions of seed and number, splits that share no combination, factors of each image."""

import pickle
from itertools import product

import numpy as np
import pytest
from vl_vlm import make_scene, make_scenes, scene_captions
from vl_vlm.scenes.draws import Draws
from vl_vlm.scenes.vocabulary import (
    AXES,
    COLORS,
    KINDS,
    PATTERNS,
    SHAPES,
    SIZES,
    SPLITS,
    axes,
    axis_of,
    combinations,
    opposite,
)

COUNT = 9000


@pytest.fixture(scope="module")
def metadata():
    return {split: make_scenes(COUNT, split=split, seed=1).metadata for split in SPLITS}


def pairs(facts):
    return {pair for item in facts for pair in zip(item["colors"], item["shapes"], strict=True)}


def cells(facts):
    return {(frozenset(item["shapes"]), axis_of(item["relation"])) for item in facts if item["relation"]}


def test_splits_share_no_combination_of_color_and_shape(metadata):
    found = {split: pairs(facts) for split, facts in metadata.items()}
    assert found["train"] == found["test"] == set(combinations("train"))
    assert found["held_out"] == set(combinations("held_out"))
    assert not found["train"] & found["held_out"]
    assert len(found["train"]) == 54
    assert found["train"] | found["held_out"] == set(product(COLORS, SHAPES))


def test_splits_share_no_shapes_in_relations_of_one_axis(metadata):
    found = {split: cells(facts) for split, facts in metadata.items()}
    assert not found["train"] & found["held_out"]
    assert not found["test"] & found["held_out"]
    # 45 pairs of shapes on three axes; two axes of each are for training.
    assert len(found["train"]) == 90
    assert len(found["held_out"]) >= 36


def test_every_word_is_in_training_in_every_role(metadata):
    facts = metadata["train"]
    relations = [item for item in facts if item["kind"] == "relations"]
    for role in (0, 1):
        assert {item["colors"][role] for item in relations} == set(COLORS)
        assert {item["shapes"][role] for item in relations} == set(SHAPES)
    assert {item["relation"] for item in relations} == {name for names in AXES for name in names}
    attributes = [item for item in facts if item["kind"] == "attributes"]
    assert {size for item in attributes for size in item["sizes"]} == {*SIZES, "medium"}
    assert {pattern for item in attributes for pattern in item["patterns"]} == {*PATTERNS, "plain"}
    counts = [item["counts"] for item in facts if item["kind"] == "counts"]
    assert {count for group in counts for count in group} == {1, 2, 3, 4, 5, 6}
    assert {len(group) for group in counts} == {1, 2}
    assert [item["kind"] for item in facts[:6]] == [*KINDS, *KINDS]


def test_two_shapes_have_exactly_one_axis_held_out():
    for one, other in product(SHAPES, SHAPES):
        assert sorted((*axes((one, other), "train"), *axes((one, other), "held_out"))) == [0, 1, 2]
        assert len(axes((one, other), "held_out")) == 1
        assert axes((one, other), "train") == axes((other, one), "train")


def test_opposites():
    assert [opposite(name) for name in ("left of", "above", "smaller than")] == ["right of", "below", "larger than"]


def test_any_image_is_made_alone_and_in_any_order():
    large, small = make_scenes(40, seed=3, split="test"), make_scenes(7, seed=3, split="test")
    backwards = [large[index] for index in reversed(range(7))][::-1]
    for index in range(7):
        assert large[index].image.tobytes() == small[index].image.tobytes() == backwards[index].image.tobytes()
        assert large[index][1:] == small[index][1:]
        assert small[index].captions == scene_captions(make_scene(index, seed=3, split="test"))
    copy = pickle.loads(pickle.dumps(small))
    assert copy[4].image.tobytes() == small[4].image.tobytes()
    assert small[-1].image.size == (32, 32)


def test_seeds_splits_and_numbers_give_other_scenes():
    sources = list(product(range(3), SPLITS, range(3)))
    scenes = {make_scene(index, seed=seed, split=split) for seed, split, index in sources}
    assert len(scenes) == len(sources)


def test_kinds_follow_one_another():
    facts = make_scenes(5, kinds=["counts", "relations"]).metadata
    assert [item["kind"] for item in facts] == ["counts", "relations", "counts", "relations", "counts"]


def test_metadata_hold_false_captions_on_request():
    dataset = make_scenes(30, negatives=True)
    assert all(len(set(item["negatives"])) >= 2 for item in dataset.metadata)
    assert "negatives" not in make_scenes(3).metadata[0]


def test_draws_are_those_of_numpys_words():
    """Words of Philox under the hash of SeedSequence, which NumPy keeps for ever."""
    words = np.random.Philox(np.random.SeedSequence((4, 2))).random_raw(3)
    draws = Draws(4, 2)
    assert [draws.uniform(-1, 3) for _ in words] == [-1 + 4 * ((int(word) >> 11) / 2**53) for word in words]


def test_draws_are_uniform_and_orders_equally_likely():
    draws = Draws(0)
    counts = np.bincount([draws.below(5) for _ in range(5000)], minlength=5)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 0.8)
    orders = [tuple(draws.shuffled("abc")) for _ in range(3000)]
    assert all(abs(orders.count(order) - 500) < 5 * np.sqrt(500 * 5 / 6) for order in set(orders))
    assert len(set(orders)) == 6
