"""The alarm decides by the AUC alone, once, and its monitor reads what training computes anyway."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn
from vl_ssl.collapse.alarm import CollapseAlarm
from vl_ssl.collapse.monitor import CollapseError, CollapseMonitor
from vl_ssl.methods.simsiam import SimSiam


def test_shrunk_features_are_an_alarm_whatever_came_before():
    alarm = CollapseAlarm()
    assert alarm.update(0, 1.0, shrunk=True) is None
    assert "from the first reading on" in str(alarm.update(1, 1.0, shrunk=True))
    assert steps_of_alarms([0.9999, 0.9999999, 0.99999991, 0.99999995]) == []  # rounding


def rows(step, directions, width=16, count=64):
    """Rows of which only some directions vary."""
    generator = torch.Generator().manual_seed(step)
    values = torch.randn(count, width, generator=generator)
    values[:, directions:] *= 1e-3
    return values


def steps_of_alarms(curve, **rule):
    alarm = CollapseAlarm(**rule)
    return [step for step, auc in enumerate(curve) if alarm.update(step, auc, loss=-1.0)]


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.95, 0.9, 0.85, 0.8, 0.75], []),  # the loss is -1 all the time and the AUC falls
        ([0.8, 0.8, 0.86, 0.8, 0.86, 0.8], []),  # one reading is not enough
        ([0.8, 0.86, 0.87, 0.99, 0.99], [2]),  # once, not at every reading
        ([0.99, 0.8, 0.849, 0.849], []),  # below the rise
        ([1.0, 1.0, 1.0], []),  # one direction from the beginning: nothing was lost
    ],
)
def test_alarm_is_a_rise_that_stays(curve, expected):
    assert steps_of_alarms(curve, rise=0.25) == expected


def test_alarm_says_where_it_stands_and_what_to_change():
    alarm = CollapseAlarm(patience=1, space="projections")
    alarm.update(99, 0.8)
    lost = alarm.update(199, 0.96, loss=-0.97)
    assert str(lost).startswith(
        "after 200 steps: collapse, the AUC of the projections is 0.960, up from 0.800 after 100 (loss -0.970); lower "
    )
    assert str(lost).endswith("; if all images are shown from the start, begin with a continual schedule")
    alarm.clear()
    alarm.update(299, 0.8)
    assert "stop-gradient" in str(alarm.update(399, 0.96, shrunk=True))


def test_a_cleared_alarm_waits_for_another_collapse():
    alarm, healthy, point = CollapseAlarm(patience=1), (0.6, False), (1.0, True)
    found = []
    for step, (auc, shrunk) in enumerate([healthy, point, point, point, healthy, point, point]):
        resumed = CollapseAlarm(patience=1)
        resumed.load_state_dict(alarm.state_dict())
        alarm = resumed
        if alarm.update(step, auc, shrunk=shrunk):
            found.append(step)
            alarm.clear()
    assert found == [1, 5]
    with pytest.raises(ValueError, match="of an alarm with patience 1, here 3; make this one with the same arguments"):
        CollapseAlarm(patience=3).load_state_dict(alarm.state_dict())


def test_a_dominant_direction_needs_less_of_a_rise():
    for dominance, expected in ((None, False), (0.74, False), (0.8, True)):
        alarm = CollapseAlarm(patience=1)
        assert alarm.update(0, 0.8, dominance=1.0) is None  # without a rise it says nothing
        alarm_at = alarm.update(1, 0.9, dominance=dominance)
        assert (alarm_at is not None) == expected
    assert "one direction holds 80 % of the variance" in str(alarm_at)


def run(monitor, first, last):
    """Steps of training whose features lose directions from step 8 on; alarms by step."""
    found = {}
    for step in range(first, last):
        features = rows(step, 16 if step < 8 else 2)
        alarm = monitor.observe(step, features, projections=rows(step, 16), loss=-0.5)
        if alarm is not None:
            found[step] = alarm.space
    return found


def test_monitor_sees_lost_dimensions_and_resumes_anywhere():
    whole = CollapseMonitor(every=2, window=128, begin=0)
    expected = run(whole, 0, 16)
    assert list(expected.values()) == ["features"]
    assert whole.reports["projections"].auc < 0.6 < whole.reports["features"].auc
    parts = CollapseMonitor(every=2, window=128, begin=0)
    found = run(parts, 0, 9)
    state = parts.state_dict()
    json.dumps({"rules": state["rules"], "alarms": state["alarms"], "widths": state["widths"]})
    again = CollapseMonitor(every=2, window=128, begin=0)
    again.load_state_dict(state)
    assert {**found, **run(again, 9, 16)} == expected
    assert again.metrics() == whole.metrics()
    assert again.alarms == whole.alarms


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(40), [9, 19, 29, 39]),
        (range(4, 30), [9, 19, 29]),
        (range(0, 40, 3), [9, 21, 33]),
        (range(1, 41, 10), [11, 21, 31]),
        ([*range(15), *range(15)], [9, 9]),
        ([9, 9, 18, 19, 40], [9, 19, 40]),
    ],
)
def test_readings_are_that_many_steps_apart_whatever_steps_are_observed(steps, expected):
    monitor, found = CollapseMonitor(every=10, window=16, begin=0), []
    for step in steps:
        monitor.observe(step, rows(step, 16))
        if monitor.reports:
            found.append(step)
        state = monitor.state_dict()
        monitor = CollapseMonitor(every=10, window=16, begin=0)
        monitor.load_state_dict({**state, "reports": {}})
    assert found == expected


def test_a_monitor_loads_the_state_of_its_arguments_alone_and_begins_anew():
    monitor = CollapseMonitor(every=2, window=128, begin=0)
    fresh, expected = monitor.state_dict(), run(monitor, 0, 16)
    for options, words in (({"every": 3}, "every 2, here 3"), ({"window": 99}, "window 128, here 99")):
        with pytest.raises(ValueError, match=f"a monitor with {words}; make this one with the same arguments"):
            CollapseMonitor(**{"every": 2, "window": 128, "begin": 0, **options}).load_state_dict(monitor.state_dict())
    monitor.reset()
    assert monitor.state_dict() == fresh
    assert run(monitor, 0, 16) == expected


def test_monitor_reads_nothing_before_its_window_is_full():
    monitor = CollapseMonitor(every=1, window=129, begin=0)
    run(monitor, 0, 2)
    assert monitor.metrics() == {}
    run(monitor, 2, 3)
    assert monitor.reports["features"].samples == 129


def test_readings_before_begin_are_the_lowest_and_no_alarm():
    assert list(run(CollapseMonitor(every=2, window=128, begin=0), 0, 20)) == [11]
    assert list(run(CollapseMonitor(every=2, window=128, begin=14), 0, 20)) == [17]


def test_monitor_stops_or_switches_when_asked():
    with pytest.raises(CollapseError, match=r"after 1. steps: collapse, the AUC of the features"):
        run(CollapseMonitor(every=2, window=128, begin=0, action="stop"), 0, 16)
    monitor = CollapseMonitor(every=1, window=64, begin=0, patience=1, action="switch")
    torch.manual_seed(0)
    method = SimSiam(nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), num_features=8, projection=8)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    output = method(torch.rand(64, 1, 8, 8), torch.rand(64, 1, 8, 8))
    after = {name: value.clone() for name, value in method.state_dict().items()}
    assert monitor.update(0, output, -1.0) is False
    flat = output._replace(features=(torch.ones(64, 8), torch.ones(64, 8)))
    assert monitor.update(1, flat, -1.0) is True
    again = [monitor.update(step, each, -1.0) for step, each in enumerate([flat, flat, output, flat, flat], 2)]
    assert again == [False, False, False, True, False]  # a second collapse
    assert method.training
    assert all(torch.equal(value, after[name]) for name, value in method.state_dict().items())
    assert any(not torch.equal(before[name], after[name]) for name in after)  # by the forward pass alone


def test_metrics_are_finite_for_constant_features():
    monitor = CollapseMonitor(every=1, window=4, begin=0)
    monitor.observe(0, torch.ones(4, 3))
    assert all(math.isfinite(value) for value in monitor.metrics().values())
    assert monitor.reports["features"].auc == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CollapseAlarm(rise=0), "rise must lie between 0 and 1"),
        (lambda: CollapseAlarm(rise=1), "rise must lie between 0 and 1"),
        (
            lambda: CollapseAlarm(rise=0.5, dominated_rise=0.6),
            "dominated_rise must lie between 0 and rise, 0.5, got 0.6",
        ),
        (lambda: CollapseAlarm(patience=0), "patience must be at least 1"),
        (lambda: CollapseAlarm().update(0, math.nan), "auc must lie in 0..1"),
        (lambda: CollapseMonitor(begin=-1), "begin at least 0, got 2 and -1"),
        (lambda: CollapseMonitor(every=0), "every must be at least 1"),
        (lambda: CollapseMonitor(window=1), "window at least 2"),
        (lambda: CollapseMonitor(rise=2), "rise must lie between 0 and 1"),
        (lambda: CollapseMonitor(action="halt"), "action must be one of warn, switch, stop"),
        (lambda: CollapseMonitor().observe(0, torch.full((2, 3), math.nan)), "finite"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
