"""Pre-training with the real monitor and probe: rows, the switch, and exact resume of both."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from vl_core.training import StopTraining
from vl_ssl.augmentation.recipes import small_recipe
from vl_ssl.collapse.alarm import Alarm
from vl_ssl.collapse.monitor import CollapseError, CollapseMonitor
from vl_ssl.methods.simsiam import SimSiam
from vl_ssl.schedules.chunks import Continual, MultiEpoch
from vl_ssl.schedules.hybrid import Hybrid
from vl_ssl.training import watching
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import PretrainSettings
from vl_ssl.training.watching import EndedByMonitor, Watch

SETTINGS = PretrainSettings(epochs=8, batch_size=8, base_learning_rate=4.0, decay_share=0.0, seed=2)
UPDATES = 24


def images():
    return torch.randint(256, (24, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def watching_monitor(action="switch"):
    return CollapseMonitor(every=2, window=16, begin=0, patience=1, rise=0.01, action=action)


def trained(out, *, action="switch", stop_at=-1, checkpoint_every=3, monitor=None):
    """A method without what keeps it from collapsing, under a schedule that may switch."""
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.BatchNorm1d(12), nn.ReLU())
    method = SimSiam(backbone, num_features=12, projection=8, predictor_hidden=4, stop_gradient=False)
    monitor = watching_monitor(action) if monitor is None else monitor

    def probe(method, update):
        if update == stop_at:
            raise KeyboardInterrupt
        return {"norm": method.backbone[1].weight.norm().item()}

    schedule = Hybrid(Continual(24, 8), MultiEpoch(24, 8))
    options = {"checkpoint_every": checkpoint_every, "log_every": 1, "progress": False, "augmentation": small_recipe(6)}
    pretrain(method, images(), SETTINGS, out, schedule=schedule, monitor=monitor, probe=probe, probe_every=1, **options)
    return method, monitor, schedule


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stop_at", [7])
def test_alarm_switch_and_rows_resume_exactly(tmp_path, stop_at):
    method, monitor, schedule = trained(tmp_path / "whole")
    assert monitor.alarms
    assert 0 < schedule.switched_at < schedule.positions
    assert schedule.switched_at == 8 * (monitor.alarms[0].step + 1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", stop_at=stop_at)
    resumed, monitor_resumed, schedule_resumed = trained(tmp_path / "parts")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in method.state_dict().items())
    assert (monitor_resumed.alarms, schedule_resumed.switched_at) == (monitor.alarms, schedule.switched_at)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    states = [load_file(tmp_path / name / "checkpoint" / "last.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_monitor_begins_anew_with_each_run(tmp_path):
    monitor = watching_monitor()
    trained(tmp_path / "one", monitor=monitor)
    trained(tmp_path / "other", monitor=monitor)
    assert rows(tmp_path / "one") == rows(tmp_path / "other")


@pytest.mark.parametrize("action", ["warn", "switch"])
def test_a_stop_keeps_its_update_and_another_action_goes_on(tmp_path, action):
    with pytest.raises(CollapseError, match="collapse") as stop:
        trained(tmp_path / "stopped", action="stop", checkpoint_every=100)
    found = rows(tmp_path / "stopped")
    assert "collapse/features/auc" in found[-1]
    assert found[-1]["step"] == stop.value.alarm.step
    with pytest.raises(CollapseError):  # at once
        trained(tmp_path / "stopped", action="stop", stop_at=found[-1]["step"] + 1)
    assert rows(tmp_path / "stopped") == found
    method, monitor, schedule = trained(tmp_path / "stopped", action=action)
    assert rows(tmp_path / "stopped")[: len(found)] == found
    assert (schedule.switched_at is not None) == (action == "switch")
    if action == "warn":
        whole, _, _ = trained(tmp_path / "whole", action="warn")
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in method.state_dict().items())
        assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
        assert len(monitor.alarms) >= 1


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ValueError("full disk"), RuntimeError, "another process, the main one, failed at update 7"),
        (CollapseError(Alarm(7, "features", 0.9, 0.2, 1)), EndedByMonitor, "stopped the run at update 7"),
    ],
)
def test_other_ranks_say_why_the_main_one_has_ended(raised, kind, words, monkeypatch):
    class Raising(CollapseMonitor):
        def update(self, update, output, loss):
            raise raised

    codes = []

    def summed(value):
        """Sum over the ranks that have come so far."""
        if value.ndim:
            codes.append(value.item())
        return torch.tensor([sum(codes)]) if value.ndim else value

    method = SimSiam(nn.Flatten(), num_features=36, projection=8)
    output = method(torch.rand(4, 1, 6, 6), torch.rand(4, 1, 6, 6))
    for rank in (0, 1):
        monkeypatch.setattr(watching, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(watching, "sum_over_ranks", summed)
        watch = Watch(Raising())
        watch.add(output)
        with pytest.raises(type(raised) if rank == 0 else kind, match=None if rank == 0 else words) as error:
            watch.update(7)
        assert isinstance(error.value, StopTraining) == isinstance(raised, StopTraining)
