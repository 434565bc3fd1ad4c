"""The learning-rate search of attention transfer: its held-out images and its rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import search_transfer_rates as search
from vl_attention.comparison.methods import method_of
from vl_core.data import ImageDataset, open_dataset
from vl_core.results import read_rows


def test_held_out_images_are_of_all_classes_and_not_trained_on() -> None:
    images = open_dataset("fashion", split="train")
    rest, held_out = search.held_out_split(images, 100)
    assert (len(rest), len(held_out)) == (len(images) - 100, 100)
    assert sorted(held_out.labels.tolist()) == sorted(list(range(10)) * 10)
    assert _counted(rest) + _counted(held_out) == _counted(images)


def _counted(images: ImageDataset) -> Counter[bytes]:
    return Counter(image.tobytes() for image, _ in images)


@pytest.mark.parametrize("rate", [1e-3, 4e-3])
def test_the_rate_is_the_one_that_the_optimizer_reaches(rate: float) -> None:
    method = search.with_peak_rate(method_of("small_images", "copy"), rate)
    assert method.settings.learning_rate == pytest.approx(rate)


def test_rows_of_a_method_and_rate_are_not_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rates.csv"
    arguments = ["--labels", "10", "--held-out", "10", "--rows", str(rows), "--work", str(tmp_path / "work")]
    texts = []
    for methods in (["copy"], ["copy", "scratch"]):
        command = [
            "search_transfer_rates.py",
            *arguments,
            "--rates",
            "1e-3",
            "--methods",
            *methods,
        ]
        monkeypatch.setattr("sys.argv", command)
        search.main()
        texts.append(rows.read_text())
    assert texts[1].startswith(texts[0])
    found = [(row["method"], row["rate"], row["seed"], row["epochs"], row["labels"]) for row in read_rows(rows)]
    assert found == [("copy", "0.001", "0", "16", "10"), ("scratch", "0.001", "0", "16", "10")]
