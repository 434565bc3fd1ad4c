"""Hard negatives: true of their image and false of the other, in one factor, usable as tasks."""

from collections import Counter

import numpy as np
import pytest
from vl_vlm import SugarCrepeTask, WinogroundTask, evaluate, hard_negatives, is_true, make_scene, negative_captions
from vl_vlm.scenes.edits import NEGATIVES
from vl_vlm.scenes.vocabulary import SPLITS, axes, axis_of, combinations

each_kind = pytest.mark.parametrize("kind", NEGATIVES)
each_split = pytest.mark.parametrize("split", SPLITS)


@each_split
@each_kind
def test_captions_are_true_of_their_own_image_alone_in_three_hundred_pairs(kind, split):
    pairs = hard_negatives(kind, 300, split=split, seed=2)
    for (first, second), (own, other) in zip(pairs.scenes, pairs.captions, strict=True):
        assert (is_true(own, first), is_true(other, second)) == (True, True), (own, other)
        assert (is_true(own, second), is_true(other, first)) == (False, False), (own, other)
    same_words = [Counter(own.split()) == Counter(other.split()) for own, other in pairs.captions]
    assert all(same_words) == kind.startswith("swap")
    assert len(set(pairs.captions)) > 20


@each_split
@each_kind
def test_both_scenes_belong_to_the_split_and_share_what_does_not_change(kind, split):
    for first, second in hard_negatives(kind, 100, split=split).scenes:
        for scene in (first, second):
            facts = scene.factors()
            assert {*zip(facts["colors"], facts["shapes"], strict=True)} <= set(combinations(split))
            if scene.relation:
                assert axis_of(scene.relation) in axes(tuple(facts["shapes"]), split)
        assert (first.background, first.slope, first.kind) == (second.background, second.slope, second.kind)
        changed = {name for name, value in first.factors().items() if second.factors()[name] != value}
        assert changed <= CHANGES[kind.partition("_")[2]] | ({"colors", "shapes"} if kind == "swap_relation" else set())


CHANGES = {
    "color": {"colors"},
    "shape": {"shapes"},
    "size": {"sizes"},
    "pattern": {"patterns"},
    "count": {"counts"},
    "relation": {"relation", "sizes"},
}


def test_pairs_are_functions_of_their_number():
    few, many = hard_negatives("swap_relation", 3, seed=9), hard_negatives("swap_relation", 30, seed=9)
    assert few.captions == many.captions[:3]
    assert few.scenes == many.scenes[:3]
    assert few.scenes[0] != hard_negatives("swap_relation", 1, seed=8).scenes[0]
    assert few.images[1][0].tobytes() == many.images[1][0].tobytes() != few.images[1][1].tobytes()


def test_relations_are_replaced_by_all_that_the_split_has():
    pairs = hard_negatives("replace_relation", 400)
    seen = {(first.relation, second.relation) for first, second in pairs.scenes}
    space = {"left of", "right of", "above", "below"}
    expected = {(one, other) for one in space for other in space if one != other}
    assert seen == expected | {("larger than", "smaller than"), ("smaller than", "larger than")}


def test_pairs_are_winoground_and_sugarcrepe_items():
    pairs = hard_negatives("swap_color", 6, size=48)
    known = {
        image.tobytes(): scene
        for images, scenes in zip(pairs.images, pairs.scenes, strict=True)
        for image, scene in zip(images, scenes, strict=True)
    }

    def oracle(images, texts):
        return np.array([[is_true(text, known[image.tobytes()]) for text in texts] for image in images], float)

    result = evaluate(oracle, WinogroundTask(pairs.images, pairs.captions, ids=pairs.ids))
    assert [result.row(f"{name} score").value for name in ("text", "image", "group")] == [1, 1, 1]
    assert result.row("group score", "blind").value == pytest.approx(1 / 6)
    single = evaluate(oracle, SugarCrepeTask(*pairs.singles()))
    assert (single.row("accuracy").value, single.row("accuracy").items) == (1, 12)
    assert single.row("accuracy", "blind").value == 0.5


@each_split
def test_negative_captions_of_two_thousand_scenes_are_false(split):
    kinds = Counter()
    for index in range(2000):
        scene = make_scene(index, split=split)
        found = negative_captions(scene, split=split)
        assert len(found) >= 2
        assert not [caption for caption in found.values() if is_true(caption, scene)]
        kinds.update(found.keys())
    assert set(kinds) == set(NEGATIVES)


def test_negative_captions_depend_on_scene_and_seed_alone():
    scenes = [make_scene(index) for index in range(20)]
    first = [negative_captions(scene) for scene in scenes]
    assert [negative_captions(scene) for scene in reversed(scenes)] == first[::-1]
    assert [negative_captions(scene, seed=1) for scene in scenes] != first
