"""Bad input: one line that names the argument, what was expected and what came."""

import numpy as np
import pytest
from vl_vlm import (
    ClassificationTask,
    RetrievalTask,
    SugarCrepeTask,
    WinogroundTask,
    bootstrap_interval,
    evaluate,
    from_dual_encoder,
    predict,
    rescore,
    sign_test,
)

TASK = SugarCrepeTask(range(2), ["a", "b"], ["c", "d"])
CLASSES = ["a", "b"]


def ones(images, texts):
    return np.ones((len(images), len(texts)))


def features(rows):
    return from_dual_encoder(lambda images: rows, lambda texts: np.ones((len(texts), 2))).score([0, 1], ["a"])


REFUSED = {
    "no captions": (lambda: RetrievalTask(range(2), [["a"], []]), "captions must name a text for each image, got none"),
    "captions missing": (lambda: RetrievalTask(range(2), [["a"]]), "captions must be a list for each of 2 images"),
    "a caption for a list": (lambda: RetrievalTask(range(2), ["a", "b"]), "must be a list of texts, got the text"),
    "empty caption": (lambda: RetrievalTask(range(2), [["a"], [" "]]), "must not be empty, got ' ' at place 0"),
    "a number for a caption": (lambda: RetrievalTask(range(2), [["a"], [7]]), "must be texts, got int"),
    "one image": (lambda: RetrievalTask(range(1), [["a", "b"]]), "images must hold at least 2, got 1"),
    "one text": (lambda: RetrievalTask(range(2), [["a"], ["a"]]), "at least two different texts"),
    "duplicate ids": (lambda: RetrievalTask(range(2), [["a"], ["b"]], ids="xx"), "ids must be unique, got 'x' 2 times"),
    "too few ids": (lambda: RetrievalTask(range(2), [["a"], ["b"]], ids="x"), "ids must name each of 2 items"),
    "recall at all": (lambda: RetrievalTask(range(2), [["a"], ["b"]], ks=[2]), r"ks must lie in 1\.\.1"),
    "no ks": (lambda: RetrievalTask(range(2), [["a"], ["b"]], ks=[]), "ks must hold at least one"),
    "label": (lambda: ClassificationTask(range(2), [0, 2], CLASSES), r"labels must lie in 0\.\.1, got 2"),
    "labels missing": (lambda: ClassificationTask(range(2), [0], CLASSES), "labels must be one for each of 2"),
    "class twice": (lambda: ClassificationTask(range(2), [0, 1], ["a", "a"]), "at least two different names"),
    "template": (lambda: ClassificationTask(range(2), [0, 1], CLASSES, templates=["a"]), "templates must each hold {}"),
    "no template": (lambda: ClassificationTask(range(2), [0, 1], CLASSES, templates=[]), "templates must each hold {}"),
    "no pair": (
        lambda: WinogroundTask([(0, 1), (2,)], [("a", "b")] * 2),
        "images must be pairs, got .2,. for item '1'",
    ),
    "no pairs": (lambda: WinogroundTask([0, 1], [("a", "b")] * 2), "images must be pairs, got 0 for item '0'"),
    "pairs missing": (lambda: WinogroundTask([(0, 1)] * 2, [("a", "b")]), "captions must be a pair for each of 2"),
    "negatives missing": (lambda: SugarCrepeTask(range(2), CLASSES, ["c"]), "negatives must be one for each of 2"),
    "equal negative": (lambda: SugarCrepeTask(range(2), CLASSES, ["c", "b"]), "negatives must differ from captions"),
    "no model": (lambda: evaluate(7, TASK), "model must have a method score"),
    "a class": (lambda: evaluate(dict, TASK), "model must have a method score"),
    "no blind model": (lambda: evaluate(ones, TASK, blind=7), "blind must have a method score"),
    "wrong shape": (lambda: evaluate(lambda i, t: ones(t, i), TASK), r"must have shape \(1, 2\) .* got \(2, 1\)"),
    "one number": (lambda: evaluate(lambda i, t: 1.0, TASK), r"must have shape \(1, 2\) .* got \(\)"),
    "NaN": (lambda: evaluate(lambda i, t: ones(i, t) * np.nan, TASK), "got NaN in 2 of 2"),
    "text for scores": (lambda: evaluate(lambda i, t: [["a"] * len(t)], TASK), "must be real numbers"),
    "complex scores": (lambda: evaluate(lambda i, t: ones(i, t) * 1j, TASK), "must be real numbers, got complex128"),
    "name": (lambda: evaluate(ones, TASK, name="blind"), "name must not be empty, nor that of a baseline"),
    "batch": (lambda: evaluate(ones, TASK, batch_size=0), "batch_size must be at least 1"),
    "samples": (lambda: evaluate(ones, TASK, samples=0), "samples must be at least 1"),
    "level": (lambda: evaluate(ones, TASK, level=95), "level must lie between 0 and 1"),
    "zero feature": (lambda: features([[1, 0], [0, 0]]), "encode_image must be finite and not all zero"),
    "feature rows": (lambda: features([[1, 0]]), r"encode_image must give features of shape \(2, D\)"),
    "feature sizes": (lambda: features(np.ones((2, 3))), "features of one size, got 3 and 2"),
    "no encoder": (lambda: from_dual_encoder(None, ones), "encode_image must be a function"),
    "cache": (lambda: from_dual_encoder(ones, ones, cached_texts=-1), "cached_texts must be 0 or more"),
    "one value": (lambda: bootstrap_interval([1]), "values must be at least two"),
    "groups": (lambda: bootstrap_interval([1, 2], groups=[0]), "groups must be one for each of 2"),
    "NaN difference": (lambda: sign_test([np.nan]), "differences must be finite"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises((ValueError, TypeError), match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_a_folder_belongs_to_one_task_and_one_model(tmp_path):
    with pytest.raises(ValueError, match="holds no scores; run predict first"):
        rescore(TASK, tmp_path)
    predict(ones, TASK, tmp_path)
    with pytest.raises(ValueError, match=r"folder of the model 'theirs'.*'model'"):
        predict(ones, TASK, tmp_path, name="theirs")
    with pytest.raises(ValueError, match="folder of items and texts"):
        predict(ones, SugarCrepeTask(range(2), ["a", "b"], ["c", "e"]), tmp_path)
    (tmp_path / "model" / "predictions.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        rescore(TASK, tmp_path)


def test_settings_are_refused_before_the_model_is_asked():
    def asked(images, texts):
        raise AssertionError

    for settings in ({"samples": 0}, {"level": 2}, {"blind": 7}, {"name": "constant"}, {"text_batch_size": 0}):
        with pytest.raises((ValueError, TypeError)):
            evaluate(asked, TASK, **settings)


def test_nan_halfway_keeps_what_was_stored(tmp_path):
    def failing(images, texts):
        return ones(images, texts) * (np.nan if images == [1] else 1)

    with pytest.raises(ValueError, match="NaN"):
        predict(failing, TASK, tmp_path, batch_size=1)
    asked = []
    predict(lambda images, texts: asked.extend(images) or ones(images, texts), TASK, tmp_path)
    assert asked == [1]
