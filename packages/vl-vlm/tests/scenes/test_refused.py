"""Bad input: one line that names the argument, what was expected and what came."""

import pytest
from vl_vlm import Scene, SceneObject, draw_scene, hard_negatives, is_true, make_scene, make_scenes, negative_captions

SCENE = make_scene(0)

CIRCLE, SQUARE = (SceneObject("red", shape, x=0.3, y=0.3, radius=0.1) for shape in ("circle", "square"))

REFUSED = {
    "no scenes": (lambda: make_scenes(0), r"count must lie in 1\.\.4294967296, got 0"),
    "size": (lambda: make_scenes(1, size=8), "size must be at least 16 pixels, got 8"),
    "image size": (lambda: draw_scene(SCENE, 15), "size must be at least 16 pixels, got 15"),
    "seed": (lambda: make_scenes(1, seed=-1), r"seed must lie in 0\.\.4294967295, got -1"),
    "split": (lambda: make_scenes(1, split="val"), "split must be one of train, test, held_out, got 'val'"),
    "no kinds": (lambda: make_scenes(1, kinds=[]), "kinds must be some of attributes, relations, counts"),
    "kind": (lambda: make_scenes(1, kinds=["colors"]), r"each once, got \['colors'\]"),
    "kind twice": (lambda: make_scenes(1, kinds=["counts"] * 2), "each once"),
    "a text": (lambda: make_scenes(1, kinds="counts"), "kinds must be a list of kinds, got the text 'counts'"),
    "index": (lambda: make_scene(-1), r"index must lie in 0\.\.4294967295, got -1"),
    "whole index": (lambda: make_scene(1.5), "index must be a whole number, got 1.5"),
    "whole size": (lambda: draw_scene(SCENE, 32.0), "size must be a whole number of pixels, got 32.0"),
    "color": (lambda: SceneObject("gray", "star", x=0, y=0, radius=1), "color must be one of red, .* got 'gray'"),
    "no shape": (lambda: SceneObject("red", "dog", x=0, y=0, radius=1), "shape must be one of circle, .* got 'dog'"),
    "pattern": (lambda: SceneObject("red", "star", 0, 0, 1, "wavy"), "pattern must be one of None, striped, .* 'wavy'"),
    "radius": (lambda: SceneObject("red", "star", 0, 0, 0), "radius must be above 0, got 0"),
    "kind of scene": (lambda: Scene("colors", (CIRCLE,)), "kind must be one of attributes, .* got 'colors'"),
    "no objects": (lambda: Scene("counts", ()), "objects must be at least one, got none"),
    "no relation": (lambda: Scene("relations", (CIRCLE, SQUARE)), "relation must be one of .* got None of 2"),
    "one object": (lambda: Scene("relations", (CIRCLE,), "above"), "of two objects, got 'above' of 1"),
    "seven": (lambda: Scene("counts", (CIRCLE,) * 7), "objects must be at most 6 of a kind, got 7"),
    "negative": (lambda: hard_negatives("swap", 4), "kind must be one of swap_color, .* got 'swap'"),
    "no pairs": (lambda: hard_negatives("swap_color", 0), r"count must lie in 1\.\.4294967296, got 0"),
    "split of pairs": (lambda: hard_negatives("swap_color", 1, split="val"), "split must be one of"),
    "split of captions": (lambda: negative_captions(SCENE, split="val"), "split must be one of"),
    "no text": (lambda: is_true(3, SCENE), "caption must be a text, got int"),
    "no phrase": (
        lambda: is_true("there is", SCENE),
        'must have "a", "an" or a number up to "six" at place 1, got the end',
    ),
    "article": (lambda: is_true("red circle", SCENE), "at place 1, got the word 'red'"),
    "shape": (lambda: is_true("a red dog", SCENE), "an attribute or a shape at place 3, got the word 'dog'"),
    "singular": (lambda: is_true("two red circle", SCENE), "an attribute or shapes at place 3, got the word 'circle'"),
    "relation": (lambda: is_true("a circle near a star", SCENE), '"and" or a relation such as "left of" at place 3'),
    "more": (lambda: is_true("a circle above a star above a ring", SCENE), "the end at place 6, got the word 'above'"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises((ValueError, TypeError), match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
