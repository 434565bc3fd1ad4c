"""Tables of an adaptation study, by hand: gains over seeds, examples, and optimizer state that is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats
from vl_diffusion.studies.adaptation.cells import CLEAN, Cell
from vl_diffusion.studies.adaptation.examples import choose_changes
from vl_diffusion.studies.adaptation.gains import Study
from vl_diffusion.studies.adaptation.runners import Outcome
from vl_diffusion.studies.adaptation.runs import MethodRun, pack, unpack
from vl_diffusion.studies.record import StudyRecord

FOG = Cell("fog", 3)


@pytest.fixture
def by_hand(tmp_path):
    """Four images of the classes 0, 0, 1 and 1, two seeds, and the clean cell beside fog."""
    predictions = {
        (CLEAN, "source", 0): [0, 0, 1, 0],
        (CLEAN, "source", 1): [0, 1, 1, 0],
        (CLEAN, "default", 0): [0, 0, 1, 1],
        (CLEAN, "default", 1): [0, 0, 1, 0],
        (FOG, "source", 0): [1, 0, 0, 0],
        (FOG, "source", 1): [1, 0, 1, 0],
        (FOG, "default", 0): [0, 1, 1, 0],
        (FOG, "default", 1): [0, 0, 1, 0],
    }
    ids = [7, -3, 5, 11]
    with StudyRecord(tmp_path / "outcomes.jsonl", Outcome) as record:
        for (cell, method, seed), found in predictions.items():
            is_source = method == "source"
            outcomes = [
                Outcome(found[i], not is_source and i < 3, *((0, 0) if is_source else (10 * seed, 5)), 0.25)
                for i in range(4)
            ]
            record.append(ids, {MethodRun(cell, method, seed).name: outcomes})
    return Study(StudyRecord(tmp_path / "outcomes.jsonl", Outcome), ids, np.array([0, 0, 1, 1]), (0, 1))


def test_gains_average_each_image_over_its_seeds(by_hand):
    assert [row.accuracy for row in by_hand.rows([FOG], ["source", "default"])] == [0.25, 0.5, 0.5, 0.75]
    row = by_hand.row(FOG, "default", 1)
    assert (row.images, row.passes_per_image, row.cpu_seconds) == (4, 15, 1.0)
    gains = by_hand.gains([CLEAN, FOG], ["source", "default"])
    assert [(gain.corruption, gain.method) for gain in gains[2:]] == [
        *(("fog", "source"), ("fog", "default"), ("all", "source"), ("all", "default"))
    ]
    fog, everything = gains[3], gains[5]
    assert (fog.source_accuracy, fog.accuracy, fog.gain) == (0.375, 0.625, 25.0)
    # Means of the images over both seeds: the first gains twice, the second loses once, the third gains once.
    interval = stats.ttest_1samp([100, -50, 50, 0], 0).confidence_interval()
    assert (fog.gain_low, fog.gain_high) == pytest.approx((interval.low, 100.0))
    assert interval.high > 100
    assert (fog.adapted, fog.passes_per_image) == (0.75, 10)
    # Of eight predictions, the fourth image's two are wrong both before and after.
    assert fog.oracle_accuracy == 0.75
    interval = stats.ttest_1samp([50, 0, 25, 25], 0).confidence_interval()
    assert (everything.gain, everything.images, everything.seeds) == (25.0, 4, 2)
    assert (everything.gain_low, everything.gain_high) == pytest.approx((interval.low, interval.high))
    assert gains[2].gain_low == gains[2].gain_high == 0


def test_examples_are_corrected_and_spoiled_predictions_in_proportion(by_hand):
    changes = choose_changes(by_hand, [CLEAN, FOG], "default", 0, 4)
    assert (changes.predictions, changes.corrected, changes.spoiled) == (8, 3, 1)
    assert [(change.cell, change.image, change.before, change.after) for change in changes.examples] == [
        *((CLEAN, 3, 0, 1), (FOG, 0, 1, 0), (FOG, 2, 0, 1), (FOG, 1, 0, 1))
    ]
    more = choose_changes(by_hand, [CLEAN, FOG], "default", 0, 6).examples
    assert len({(change.cell, change.image) for change in more}) == 6
    assert all(change.before == change.after for change in more[4:])


def test_optimizer_state_survives_packing():
    weight = torch.nn.Parameter(torch.arange(3.0))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    tensors = {}
    kept = json.loads(json.dumps(pack({"values": [weight], "optimizer": optimizer.state_dict()}, tensors)))
    state = unpack(kept, tensors)
    assert torch.equal(state["values"][0], weight)
    again = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
    again.load_state_dict(state["optimizer"])
    assert again.param_groups[0]["lr"] == 0.1
    assert torch.equal(again.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
