"""State beside the weights, an order of samples that changes on the way, columns of one's own, and constant rates."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from vl_core.runs import read_metrics
from vl_core.training import StopTraining, TrainingSettings, fit

SPEC = importlib.util.spec_from_file_location("small_fit", Path(__file__).parent / "small_fit.py")
small_fit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(small_fit)
SETTINGS = TrainingSettings(updates=10, batch_size=4, learning_rate=0.1)


class Turning(Dataset):
    """Samples by place, from another half of them after `turned`; raises at the place where a process would die."""

    def __init__(self, dies_at=-1):
        self.turned, self.dies_at = False, dies_at

    def __getitem__(self, place):
        if place == self.dies_at:
            raise KeyboardInterrupt
        return small_fit.Samples()[place % 20 + 20 * self.turned]

    def state_dict(self):
        return {"turned": self.turned, "none": None, "list": [1, 2]}

    def load_state_dict(self, state):
        assert state == {"turned": state["turned"], "none": None, "list": [1, 2]}
        self.turned = state["turned"]


class Mean:
    """Running sum of what a run has seen, in a nested state."""

    def __init__(self):
        self.sum, self.count = torch.zeros(6, dtype=torch.float64), 0

    def add(self, x):
        self.sum = self.sum + x.double().sum(dim=0)
        self.count += len(x)

    def state_dict(self):
        return {"moments": {"sum": self.sum, "count": self.count}, "name": "mean"}

    def load_state_dict(self, state):
        self.sum, self.count = state["moments"]["sum"], state["moments"]["count"]


def run(out, *, workers=0, dies_at=-1, turn_at=3, **options):
    """Train; return what ends it: the weights, the meter, and the samples of each update."""
    model, data, mean, seen = small_fit.network(), Turning(dies_at), Mean(), {}

    def loss(model, batch, number):
        mean.add(batch[0])
        seen[number] = batch[0].clone()
        return small_fit.loss(model, batch, number)

    def after_update(update, weights):
        if update == turn_at:
            data.turned = True
            return True
        return None

    settings = replace(SETTINGS, workers=workers)
    state = {"data": data, "mean": mean}
    given = {"after_update": after_update, "state": state, "checkpoint_every": 2, "log_every": 5, **options}
    fit(model, data, loss, settings, out, progress=False, **given)
    return model.state_dict(), mean, seen


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_samples_change_with_the_next_update_whatever_the_number_of_workers(tmp_path):
    weights, mean, seen = run(tmp_path / "0")
    expected = [place % 20 + 20 * (place >= 16) for place in range(40)]
    samples = small_fit.Samples()
    for update in range(10):
        own = torch.stack([samples[index][0] for index in expected[4 * update : 4 * update + 4]])
        assert torch.equal(seen[update], own)
    ahead, mean_ahead, _ = run(tmp_path / "2", workers=2)
    assert same(weights, ahead)
    assert torch.equal(mean.sum, mean_ahead.sum)


@pytest.mark.parametrize("stop_at", [0, 4, 9])
def test_a_run_that_is_stopped_keeps_the_update_and_goes_on(tmp_path, stop_at):
    def stopping(update, weights):
        if update == stop_at:
            raise StopTraining("enough")

    whole, mean, _ = run(tmp_path / "whole", after_update=None)
    with pytest.raises(StopTraining, match="enough"):
        run(tmp_path / "parts", after_update=stopping, checkpoint_every=100)
    assert [row["step"] for row in read_metrics(tmp_path / "parts")] == list(range(4, stop_at + 1, 5))
    resumed, mean_resumed, seen = run(tmp_path / "parts", after_update=None)
    assert list(seen) == list(range(stop_at + 1, 10))
    assert same(whole, resumed)
    assert torch.equal(mean.sum, mean_resumed.sum)
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")


@pytest.mark.parametrize("dies_at", [0, 14, 18, 39])
def test_state_and_changed_order_resume_exactly(tmp_path, dies_at):
    whole, mean, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", dies_at=dies_at)
    resumed, mean_resumed, _ = run(tmp_path / "parts")
    assert same(whole, resumed)
    assert torch.equal(mean.sum, mean_resumed.sum)
    assert (mean_resumed.count, mean_resumed.sum.dtype) == (40, torch.float64)


def test_a_checkpoint_with_the_state_of_others_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match=r"state must name \['data', 'mean'\] as the checkpoint .* got \['data'\]"):
        run(tmp_path, state={"data": Turning()})
    with pytest.raises(ValueError, match=r"got \[\]; resume with the same objects"):
        run(tmp_path, state=None)


def test_a_state_that_no_checkpoint_can_keep_is_refused(tmp_path):
    data = Turning()
    data.state_dict = lambda: {"numbers": {1, 2}}
    with pytest.raises(TypeError, match=r"JSON can keep .* got set"):
        run(tmp_path, state={"data": data})


def test_rows_take_columns_of_the_update_that_they_are_of(tmp_path):
    asked = []

    def more(update):
        asked.append(update)
        return {"twice": 2 * update}

    run(tmp_path, more_metrics=more)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert asked == [4, 9]
    assert [(row["step"], row["twice"]) for row in rows] == [(4, 8), (9, 18)]
    assert {"loss", "learning_rate"} <= rows[0].keys()


def test_a_constant_group_keeps_the_peak_and_the_row_shows_the_rate_that_moves(tmp_path):
    settings, model, given = replace(SETTINGS, warmup=4), small_fit.network(), []
    groups = [
        {"params": model[0].parameters()},
        {"params": model[3].parameters(), "constant_rate": True, "lr_scale": 10.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)

    def after_update(update, weights):
        given.append([group["lr"] for group in optimizer.param_groups])

    data = Turning()
    fit(model, data, small_fit.loss, settings, tmp_path, optimizer=optimizer, after_update=after_update, log_every=1,
        progress=False)  # fmt: skip
    rates = [settings.learning_rate_at(update) for update in range(10)]
    assert given == [[rate, 1.0] for rate in rates]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["learning_rate"] for row in rows] == rates


def test_the_row_shows_the_peak_where_every_group_keeps_it(tmp_path):
    model = nn.Linear(6, 2)
    optimizer = torch.optim.SGD([{"params": model.parameters(), "constant_rate": True}], lr=1.0)
    fit(model, Turning(), small_fit.loss, SETTINGS, tmp_path, optimizer=optimizer, log_every=10, progress=False)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["learning_rate"] == SETTINGS.learning_rate
