"""The reader of captions: by hand on one scene, and against the templates on thousands."""

import pytest
from vl_vlm import Scene, SceneObject, is_true, make_scene, scene_captions
from vl_vlm.scenes.vocabulary import SPLITS

CIRCLE = SceneObject("red", "circle", x=0.2, y=0.5, radius=0.2)
SQUARE = SceneObject("blue", "square", x=0.8, y=0.6, radius=0.1, pattern="striped")
CROSSES = [SceneObject("green", "cross", x=0.2 + 0.3 * place, y=0.9, radius=0.15) for place in range(2)]
SCENE = Scene("attributes", (CIRCLE, SQUARE, *CROSSES))

TRUE = (
    "a red circle",
    "There is a large red circle.",
    "an image of a small striped blue square and a circle",
    "a red circle left of a blue square",
    "a blue square is right of a circle",
    "a red circle larger than a square",
    "a square smaller than an object",
    "a cross below a circle",
    "two green crosses",
    "two crosses and one circle",
    "four objects",
    "a cross and a cross",
    "a cross left of a cross",
    "a red object above a green cross",
)
FALSE = (
    "a blue circle",
    "a small red circle",
    "a large cross",
    "a striped circle",
    "a blue circle and a red square",
    "a blue square left of a red circle",
    "a red circle above a blue square",  # more to the left than above
    "a red circle smaller than a blue square",
    "a cross larger than a cross",
    "three green crosses",
    "one cross",
    "a circle and a circle",
    "a ring",
)


@pytest.mark.parametrize("caption", TRUE)
def test_true(caption):
    assert is_true(caption, SCENE)


@pytest.mark.parametrize("caption", FALSE)
def test_false(caption):
    assert not is_true(caption, SCENE)


def test_size_relations_ask_for_a_quarter_more():
    larger = SceneObject("red", "circle", x=0.2, y=0.5, radius=0.125)
    for radius, expected in ((0.1, True), (0.101, False)):
        other = SceneObject("blue", "circle", x=0.8, y=0.5, radius=radius)
        scene = Scene("relations", (larger, other), "larger than")
        assert is_true("a red circle larger than a blue circle", scene) is expected
        assert is_true("a blue circle smaller than a red circle", scene) is expected


@pytest.mark.parametrize("split", SPLITS)
def test_every_caption_of_two_thousand_scenes_is_true(split):
    scenes = [make_scene(index, split=split, seed=5) for index in range(2000)]
    captions = [(caption, scene) for scene in scenes for caption in scene_captions(scene)]
    assert len(captions) > 6000
    assert [caption for caption, scene in captions if not is_true(caption, scene)] == []
    # Captions say something: most are false of the next scene of their kind.
    others = [is_true(scene_captions(one)[0], other) for one, other in zip(scenes, scenes[3:], strict=False)]
    assert sum(others) < 0.05 * len(others)


def test_captions_of_a_scene_differ():
    for index in range(300):
        captions = scene_captions(make_scene(index))
        assert len(set(captions)) == len(captions) in (3, 4)
