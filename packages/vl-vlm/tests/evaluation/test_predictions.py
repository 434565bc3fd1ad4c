"""Raw scores are on disk before metrics: rescoring asks no model, a stopped run resumes, damage costs what it hit."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from pyarrow import parquet
from vl_core.tables import write_parquet
from vl_vlm import ClassificationTask, RetrievalTask, evaluate, predict, rescore

NAMES = ["cat", "dog", "ibex"]
SCORES = np.random.default_rng(0).random((10, 3)).astype(np.float32)


@pytest.fixture
def task():
    labels = [number % 3 for number in range(10)]
    ids = [f"image {number}" for number in range(10)]
    return ClassificationTask(range(10), labels, NAMES, templates=["{}"], ids=ids, ks=[1, 2])


def parts(folder):
    return sorted((folder / "model").glob("part-*.parquet"))


def test_rows_hold_ids_and_raw_scores(table, task, tmp_path):
    predict(table(SCORES, NAMES), task, tmp_path, batch_size=4)
    tables = [parquet.read_table(path) for path in parts(tmp_path)]
    assert [len(rows) for rows in tables] == [4, 4, 2]
    assert [name for rows in tables for name in rows["item"].to_pylist()] == list(task.item_ids)
    np.testing.assert_array_equal([row for rows in tables for row in rows["scores"].to_pylist()], SCORES)


def test_rescoring_asks_no_model_and_takes_other_labels(table, task, tmp_path):
    result = evaluate(table(SCORES, NAMES), task, out=tmp_path)
    assert rescore(task, tmp_path).rows == result.rows
    corrected = ClassificationTask(range(10), SCORES.argmax(1), NAMES, templates=["{}"], ids=task.item_ids, ks=[1])
    assert rescore(corrected, tmp_path).row("top-1 accuracy").value == 1


def test_a_stopped_run_resumes_with_what_is_missing(table, task, tmp_path):
    class Stopping(table):
        def score(self, images, texts):
            if 5 in images:
                raise KeyboardInterrupt
            return super().score(images, texts)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopping(SCORES, NAMES), task, out=tmp_path, batch_size=2)
    with pytest.raises(ValueError, match=r"lacks 6 of 10, the first is 'image 4'"):
        rescore(task, tmp_path)
    model = table(SCORES, NAMES)
    result = evaluate(model, task, out=tmp_path, batch_size=5)  # another size is no hindrance
    assert model.asked == list(range(4, 10))
    assert result.rows == evaluate(table(SCORES, NAMES), task).rows


def test_rows_that_hold_no_numbers_are_scored_again(table, task, tmp_path):
    evaluate(table(SCORES, NAMES), task, out=tmp_path, batch_size=4)
    for path, scores in zip(parts(tmp_path), (np.full((4, 3), np.nan), np.ones((4, 2)), np.ones((2, 3))), strict=True):
        names = parquet.read_table(path)["item"].to_pylist()
        write_parquet(path, {"item": ["stranger", *names[1:]] if len(names) == 2 else names, "scores": scores})
    model = table(SCORES, NAMES)
    assert len(evaluate(model, task, out=tmp_path).notes) == 3
    assert model.asked == list(range(10))


@pytest.mark.parametrize("damage", ["half", "empty", "other"])
def test_a_damaged_file_costs_its_items_and_is_said(table, task, tmp_path, damage):
    before = evaluate(table(SCORES, NAMES), task, out=tmp_path, batch_size=4)
    path = parts(tmp_path)[1]
    whole = path.read_bytes()
    path.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "other": b"no table" * 20}[damage])
    model = table(SCORES, NAMES)
    after = evaluate(model, task, out=tmp_path, batch_size=4)
    assert model.asked == [4, 5, 6, 7]
    assert after.rows == before.rows
    assert "part-000000004.parquet cannot be read" in after.notes[0]
    assert "set aside" in str(after)
    assert path.with_suffix(".damaged").exists()
    assert evaluate(table(SCORES, NAMES), task, out=tmp_path).notes == ()


def test_a_copied_file_counts_once(table, task, tmp_path):
    before = evaluate(table(SCORES, NAMES), task, out=tmp_path, batch_size=4)
    copied = parts(tmp_path)[0]
    copied.with_name("part-000000000 (1).parquet").write_bytes(copied.read_bytes())
    result = rescore(task, tmp_path)
    assert result.rows == before.rows
    assert "an item in it has a row already" in result.notes[0]


def test_a_blind_model_of_ones_own_is_stored_too(table, task, tmp_path):
    blind = table(np.tile([0.0, 1.0, 0.0], (10, 1)), NAMES)
    result = evaluate(table(SCORES, NAMES), task, out=tmp_path, blind=blind)
    assert result.row("top-1 accuracy", "blind").value == 3 / 10
    assert rescore(task, tmp_path).rows == result.rows


def test_numbers_survive_in_their_precision(tmp_path):
    scores = np.array([[1.0, 1.0 + 2**-40], [1.0 + 2**-40, 1.0]])
    task = RetrievalTask(range(2), [["a"], ["b"]])
    result = evaluate(lambda images, texts: scores[np.ix_(images, [ord(t) - 97 for t in texts])], task, out=tmp_path)
    assert result.row("image-to-text recall@1").tie_rate == 0
    coarse = rescore(task, tmp_path, decimals=6).row("image-to-text recall@1")
    assert (coarse.value, coarse.tie_rate) == (0.5, 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_loses_nothing_that_was_stored(tmp_path):
    script = (
        "import os, sys, signal, vl_vlm\n"
        "task = vl_vlm.SugarCrepeTask(range(9), [f'a{i}' for i in range(9)], [f'b{i}' for i in range(9)])\n"
        "def model(images, texts):\n"
        "    if images == [5] and sys.argv[2] == 'kill':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print('asked', images[0])\n"
        "    return [[float(text[0] == 'a') for text in texts] for _ in images]\n"
        "print(vl_vlm.evaluate(model, task, out=sys.argv[1], batch_size=2).row('accuracy').value)\n"
    )
    command = [sys.executable, "-u", "-c", script, str(tmp_path)]
    killed = subprocess.run([*command, "kill"], capture_output=True, text=True, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = subprocess.run([*command, "go"], capture_output=True, text=True, env=os.environ, check=True)
    assert resumed.stdout.split("\n")[:-1] == [f"asked {item}" for item in range(4, 9)] + ["1.0"]
