"""Gains are paired by seed; intervals use Student's t; shares of the gap."""

from __future__ import annotations

import doctest

import pytest
import torch
from safetensors.torch import save_file
from vl_attention.comparison import summary
from vl_attention.comparison.compare import COLUMNS, read_predictions
from vl_attention.comparison.summary import summarize


def row(method, seed, accuracy, seconds=10.0):
    return dict(zip(COLUMNS, map(str, (method, seed, 8, 4, accuracy, seconds, 100 + seed)), strict=True))


@pytest.fixture
def three_seeds():
    accuracies = {"scratch": (0.7, 0.72, 0.71), "fine-tune": (0.8, 0.83, 0.8), "distill": (0.79, 0.8, 0.78)}
    return [row(name, seed, value) for name, values in accuracies.items() for seed, value in enumerate(values)]


def test_examples_give_what_they_show():
    assert not doctest.testmod(summary).failed


def test_gains_are_over_scratch_with_the_same_seed(three_seeds):
    scratch, tuned, distilled = summarize(three_seeds, "")
    assert scratch.gain is None
    assert scratch.share_of_gap is None
    assert tuned.gain.mean == pytest.approx(0.1)
    assert tuned.share_of_gap == 1
    # Differences 0.09, 0.08, 0.07: deviation 0.01, and Student's 4.303 for three seeds.
    assert distilled.gain.mean == pytest.approx(0.08)
    assert distilled.gain.high - distilled.gain.mean == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-3)
    assert distilled.share_of_gap == pytest.approx(0.8)
    assert (distilled.seeds, distilled.seconds, distilled.peak_mb) == ((0, 1, 2), 10, 102)


def test_shares_of_the_gap_are_over_the_seeds_that_all_three_have(three_seeds):
    rows = [row for row in three_seeds if (row["method"], row["seed"]) not in (("fine-tune", "2"), ("distill", "0"))]
    _, tuned, distilled = summarize(rows, "")
    assert (tuned.seeds, distilled.seeds) == ((0, 1), (1, 2))
    assert distilled.gain.mean == pytest.approx((0.08 + 0.07) / 2)
    assert distilled.share_of_gap == pytest.approx(0.08 / 0.11)
    assert tuned.share_of_gap == 1


def test_without_a_seed_in_common_there_is_no_share_of_the_gap(three_seeds):
    rows = [row for row in three_seeds if row["method"] == "scratch" or row["seed"] != "2"]
    others = [row("distill", 2, 0.78), row("distill", 3, 0.8), row("scratch", 3, 0.7)]
    found = summarize([*(row for row in rows if row["method"] != "distill"), *others], "")
    assert found[-1].method == "distill"
    assert found[-1].gain.mean == pytest.approx(0.085)
    assert found[-1].share_of_gap is None


def test_a_single_seed_is_measured_over_images(tmp_path):
    labels = torch.arange(100) % 2
    answers = {"scratch": labels.clone(), "distill": labels.clone()}
    answers["scratch"][:30] = 1 - labels[:30]
    answers["distill"][:10] = 1 - labels[:10]
    for name, found in answers.items():
        folder = tmp_path / "runs" / f"{name}-0"
        folder.mkdir(parents=True)
        save_file({"logits": torch.nn.functional.one_hot(found).float(), "labels": labels},
                  folder / "predictions.safetensors")  # fmt: skip
    scratch, distilled = summarize([row("scratch", 0, 0.7), row("distill", 0, 0.9)], tmp_path)
    assert scratch.accuracy.mean == pytest.approx(0.7)
    assert 0.6 < scratch.accuracy.low < 0.7 < scratch.accuracy.high < 0.8
    # Right where scratch is wrong on 20 of 100 images, nowhere the other way round.
    assert distilled.gain.mean == pytest.approx(0.2)
    assert distilled.gain.high - distilled.gain.low == pytest.approx(2 * 1.984 * 0.402 / 10, rel=0.01)
    assert distilled.share_of_gap is None


def test_the_ensembles_answers_are_the_mean_of_its_members(tmp_path):
    for name, logits in (("fine-tune", [[2.0, 0.0]]), ("distill", [[0.0, 1.0]])):
        (tmp_path / "runs" / f"{name}-3").mkdir(parents=True)
        save_file({"logits": torch.tensor(logits), "labels": torch.tensor([0])},
                  tmp_path / "runs" / f"{name}-3" / "predictions.safetensors")  # fmt: skip
    found, labels = read_predictions(tmp_path, "ensemble", 3)
    expected = (torch.tensor([[2.0, 0.0]]).softmax(-1) + torch.tensor([[0.0, 1.0]]).softmax(-1)) / 2
    torch.testing.assert_close(found.exp(), expected)
    assert labels.tolist() == [0]


def test_without_scratch_there_is_no_gain_and_without_rows_an_error(three_seeds):
    found = summarize([row for row in three_seeds if row["method"] != "scratch"], "")
    assert all(summary.gain is None for summary in found)
    with pytest.raises(ValueError, match="one or more"):
        summarize([], "")
