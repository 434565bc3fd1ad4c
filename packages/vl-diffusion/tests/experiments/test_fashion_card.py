"""The summary and the table that the card's script makes of `classify.csv`, from a few synthetic rows."""

from __future__ import annotations

import fashion_card
import pytest
from vl_core.results import wilson_interval


def test_the_summary_counts_correct_answers_and_names_the_worst_class() -> None:
    named = [("bag", "bag", 240), ("bag", "bag", 240), ("coat", "shirt", 250), ("coat", "coat", 270)]
    rows = [dict(zip(("true", "predicted", "evaluations"), map(str, row), strict=True)) for row in named]
    summary = fashion_card.summarize(rows)
    low, high = (f"{100 * end:.2f}" for end in wilson_interval(3, 4))
    assert summary == {
        "images": 4,
        "correct": 3,
        "accuracy": "75.00",
        "low": low,
        "high": high,
        "worst_class": "coat",
        "worst_class_accuracy": "50.00",
        "evaluations_per_image": "250",
    }


def test_the_table_shows_the_model_above_the_baseline() -> None:
    ours = {"accuracy": "91.00", "low": "89.70", "high": "92.20", "evaluations_per_image": "240"}
    cnn = {"model": "cnn5-24", "seed": "0", "accuracy": "91.30", "low": "89.98", "high": "92.46"}
    lines = fashion_card.card_table(ours, [cnn]).splitlines()
    assert lines[2] == "| this model, 240 evaluations per image | 91.00 % | 89.70 to 92.20 % |"
    assert lines[3] == "| CNN `cnn5-24`, seed 0 | 91.30 % | 89.98 to 92.46 % |"


def test_missing_results_are_refused_with_their_command(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("sys.argv", ["fashion_card.py", "--results", str(tmp_path / "classify.csv")])
    with pytest.raises(SystemExit, match=r"classify\.csv is missing; make it with `vl-diffusion classify"):
        fashion_card.main()
