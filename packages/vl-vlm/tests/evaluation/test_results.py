"""Results: three numbers and two baselines in every row, and two models on the same items."""

import numpy as np
import pytest
from vl_core.results import read_rows
from vl_vlm import ClassificationTask, RetrievalTask, SugarCrepeTask, WinogroundTask, compare, evaluate

TASKS = {
    "classification": ClassificationTask(range(4), [0, 1, 2, 0], ["a", "b", "c"]),
    "retrieval": RetrievalTask(range(4), [["a", "b"], ["c"], ["d"], ["e"]], ks=[1, 2]),
    "winoground": WinogroundTask([(0, 1), (2, 3)], [("a b", "b a"), ("c d", "d c")]),
    "sugarcrepe": SugarCrepeTask(range(4), list("abcd"), list("wxyz")),
}
CHANCE = {
    "top-1 accuracy": 1 / 3,
    "image-to-text recall@1": (1 / 5 * 3 + 2 / 5) / 4, "image-to-text recall@2": (2 / 5 * 3 + 7 / 10) / 4,
    "text-to-image recall@1": 1 / 4, "text-to-image recall@2": 2 / 4,
    "text score": 1 / 4, "image score": 1 / 4, "group score": 1 / 6,
    "accuracy": 1 / 2,
}  # fmt: skip


def random_model(seed):
    generator = np.random.default_rng(seed)
    return lambda images, texts: generator.random((len(images), len(texts)))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_metric_has_a_blind_and_a_constant_row(task):
    result = evaluate(random_model(0), task, name="ours", samples=50)
    metrics = dict.fromkeys(row.metric for row in result.rows)
    assert [(row.metric, row.model) for row in result.rows] == [
        (metric, model) for metric in metrics for model in ("ours", "blind", "constant")
    ]
    for metric in metrics:
        row = result.row(metric, "constant")
        assert (row.value, row.official, row.tie_rate) == (pytest.approx(CHANCE[metric]), 0, 1)
        ours = result.row(metric)
        assert ours.tie_rate == 0
        assert ours.value == ours.official
        assert ours.low <= ours.value <= ours.high


def test_the_table_and_the_file_show_all_numbers(tmp_path):
    result = evaluate(random_model(0), TASKS["sugarcrepe"])
    head, _, ours, blind, constant = str(result).split("\n")
    assert head.split() == ["metric", "model", "value", "interval", "official", "ties", "items"]
    assert [line.split()[1] for line in (ours, blind, constant)] == ["model", "blind", "constant"]
    assert constant.split()[2:] == ["50.0", "%", "50.0", "%", "to", "50.0", "%", "0.0", "%", "100.0", "%", "4"]
    result.save_csv(tmp_path / "rows.csv")
    rows = read_rows(tmp_path / "rows.csv")
    assert rows[2] == {
        "metric": "accuracy", "model": "constant", "value": "0.5", "low": "0.5", "high": "0.5", "official": "0",
        "tie_rate": "1", "items": "4",
    }  # fmt: skip
    with pytest.raises(KeyError, match="no row 'recall'"):
        result.row("recall")


def test_two_models_are_compared_item_by_item():
    task = SugarCrepeTask(range(20), [f"a{n}" for n in range(20)], [f"b{n}" for n in range(20)])

    def right_below(count):
        return lambda images, texts: [
            [float((text[0] == "a") == (image < count)) for text in texts] for image in images
        ]

    better, worse = (evaluate(right_below(count), task) for count in (18, 10))
    (found,) = compare(better, worse, samples=999)
    assert (found.metric, found.difference, found.wins, found.losses) == ("accuracy", pytest.approx(8 / 20), 8, 0)
    assert found.p_sign == 2 / 2**8
    assert found.p_bootstrap == 2 / 1000
    assert 0 < found.low < 0.4 < found.high
    (same,) = compare(better, better)
    assert (same.difference, same.p_sign, same.p_bootstrap) == (0, 1, 1)


def test_results_of_other_items_are_not_compared():
    first = evaluate(random_model(0), TASKS["sugarcrepe"])
    for other in (TASKS["winoground"], SugarCrepeTask(range(4), list("abcd"), list("wxyv"))):
        with pytest.raises(ValueError, match="second must be of the same items"):
            compare(first, evaluate(random_model(0), other))
    labeled = [
        evaluate(random_model(0), ClassificationTask(range(2), labels, ["a", "b"])) for labels in ([0, 1], [1, 1])
    ]
    with pytest.raises(ValueError, match="same items"):
        compare(*labeled)
