"""Metrics read back as written, minus what an interruption tore or a resumed run writes again."""

import json
import math

import numpy as np
import pytest
import torch
from vl_core.runs import RunFolder, _folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(_folder, "_event_writer", lambda folder, first_step: None)
    return RunFolder(tmp_path / "run", {})


def test_rows_read_back_in_order_and_as_numbers(run):
    run.log(0, loss=torch.tensor(0.5, requires_grad=True), correct=np.int64(3))
    run.log(torch.tensor(2), **{"train/loss": 0.25, "done": True})
    assert run.metrics() == [{"step": 0, "loss": 0.5, "correct": 3}, {"step": 2, "train/loss": 0.25, "done": True}]
    assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()] == run.metrics()


def test_a_new_run_has_no_rows(run):
    assert run.metrics() == []


def test_nan_and_infinity_read_back(run):
    run.log(0, loss=float("nan"), best=float("inf"))
    row = run.metrics()[0]
    assert math.isnan(row["loss"])
    assert row["best"] == math.inf


@pytest.mark.parametrize("torn", [b'{"step": 2, "lo', b'{"step": 2', b"\xff\x00", b"7"])
def test_a_torn_last_line_is_dropped_and_goes_when_the_run_goes_on(run, torn):
    run.log(0, loss=2.0)
    run.log(1, loss=1.0)
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    again = RunFolder(run.path, {})
    assert again.metrics() == [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}]
    again.log(2, loss=0.5)
    assert [row["step"] for row in again.metrics()] == [0, 1, 2]
    assert path.read_bytes().count(b"\n") == 3


def test_a_last_line_that_lacks_only_its_end_is_kept(run):
    run.log(0, loss=2.0)
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().rstrip())
    again = RunFolder(run.path, {})
    again.log(1, loss=1.0)
    assert again.metrics() == [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}]


@pytest.mark.parametrize(
    "line", ['{"st', '{"step": 1, "loss": "low"}', "[" * 5000, '{"step": 1, "x": ' + "9" * 5000 + "}"]
)
def test_a_broken_line_in_the_middle_is_an_error_naming_it(run, line):
    (run.path / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not a row"):
        run.metrics()


def test_resuming_repeats_no_rows(run):
    for step in range(5):
        run.log(step, loss=float(step))
        run.log(step, accuracy=0.0)
    again = RunFolder(run.path, {})
    assert len(again.metrics()) == 10
    again.log(3, loss=30.0)
    again.log(3, accuracy=0.5)
    assert [row["step"] for row in again.metrics()] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert again.metrics()[-2:] == [{"step": 3, "loss": 30.0}, {"step": 3, "accuracy": 0.5}]


def test_rows_after_a_loaded_checkpoint_go_even_if_the_next_row_is_later(run):
    for step in range(8):
        run.log(step, loss=float(step))
        if step == 3:
            run.save_checkpoint(4, {}, {})
    again = RunFolder(run.path, {})
    again.load_checkpoint()
    again.log(6, loss=60.0)
    assert [row["step"] for row in again.metrics()] == [0, 1, 2, 3, 6]


@pytest.mark.parametrize(
    ("step", "metrics", "error", "message"),
    [
        (-1, {}, ValueError, "step must not be negative, got -1"),
        (0.5, {}, TypeError, "step must be an integer, got float"),
        (True, {}, TypeError, "step must be an integer, got bool"),
        (0, {"loss": torch.zeros(2)}, TypeError, r"metric loss must be one number, got Tensor of shape \(2,\); reduce"),
        (0, {"loss": "low"}, TypeError, "metric loss must be one number, got str"),
        (0, {"loss": torch.tensor(1j)}, TypeError, "metric loss must be one number"),
        (0, {"step": 1}, ValueError, "must not hold the name step"),
    ],
)
def test_bad_rows_are_errors_and_not_written(run, step, metrics, error, message):
    with pytest.raises(error, match=message):
        run.log(step, **metrics)
    assert run.metrics() == []


def test_events_follow_where_tensorboard_is_installed(tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def train(steps: range) -> None:
        with RunFolder(tmp_path, {}) as run:
            for step in steps:
                run.log(step, loss=step / 10)

    train(range(5))
    train(range(3, 7))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("loss")] == [(s, s / 10) for s in range(7)]


def test_metrics_need_no_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(_folder.importlib.util, "find_spec", lambda name: None)
    with RunFolder(tmp_path, {}) as run:
        run.log(0, loss=1.0)
        assert run.metrics() == [{"step": 0, "loss": 1.0}]
    assert not (tmp_path / "tensorboard").exists()
