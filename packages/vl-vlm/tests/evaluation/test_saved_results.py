"""Results in folders are the results."""

import json

import numpy as np
import pytest
from vl_vlm import RetrievalTask, compare, evaluate, load_result, save_result

TASK = RetrievalTask(list(range(6)), [["a", "b"], ["c"], ["d"], ["e", "a"], ["f"], ["g"]])


def noisy(seed):
    rng = np.random.default_rng(seed)
    return lambda images, texts: rng.integers(0, 3, (len(images), len(texts))).astype(float)


def test_a_saved_result_is_the_same_result(tmp_path):
    first, second = (evaluate(noisy(seed), TASK, name=f"model {seed}", samples=50) for seed in range(2))
    for number, result in enumerate((first, second)):
        save_result(result, tmp_path / str(number))
    loaded = [load_result(tmp_path / str(number), samples=50) for number in range(2)]
    assert loaded[0].rows == first.rows
    assert str(loaded[1]) == str(second)
    assert compare(*loaded) == compare(first, second)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.parquet", None, "items.parquet is missing"),
        ("items.parquet", b"PAR1", "holds a damaged result"),
        ("result.json", b"[]", "result.json"),
        ("result.json", json.dumps({"task": "", "digest": "", "models": ["x"], "notes": []}).encode(), "has no row"),
        ("result.json", b'{"task": ""}', "holds a damaged result"),
    ],
)
def test_refused(tmp_path, name, content, message):
    save_result(evaluate(noisy(0), TASK, samples=10), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_result(tmp_path)
