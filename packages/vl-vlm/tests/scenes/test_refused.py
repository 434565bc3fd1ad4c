"""Bad input: one line that names the argument, what was expected and what came."""

import pytest
from vl_vlm import draw_scene, hard_negatives, is_true, make_scene, make_scenes, negative_captions

SCENE = make_scene(0)

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
    "negative": (lambda: hard_negatives("swap", 4), "kind must be one of swap_color, .* got 'swap'"),
    "no pairs": (lambda: hard_negatives("swap_color", 0), "count must be at least 1, got 0"),
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
