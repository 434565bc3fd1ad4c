"""The comparison of two diffusion models: differences with intervals, from the files that the commands write."""

from __future__ import annotations

import csv
from pathlib import Path

import compare_fashion_models
import numpy as np
import pytest
from vl_core.data import open_dataset
from vl_core.results import wilson_interval
from vl_diffusion.models.images import to_tensor
from vl_diffusion.studies.adaptation.gains import t_interval
from vl_diffusion.studies.adaptation.runners import Outcome
from vl_diffusion.studies.record import StudyRecord


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_clean_images_of_both_folders_are_compared_in_pairs(tmp_path: Path) -> None:
    truths = ["bag", "coat", "bag", "coat"]
    for folder, predictions in (("old", ["bag", "bag", "bag", "coat"]), ("new", ["coat", "coat", "bag", "coat"])):
        rows = [
            {"image": f"{i}", "true": true, "predicted": predicted}
            for i, (true, predicted) in enumerate(zip(truths, predictions, strict=True))
        ]
        write_rows(tmp_path / folder / "classify.csv", [*rows, dict(rows[0], image=f"only in {folder}")])
    (row,) = compare_fashion_models.compare_clean([tmp_path / "old", tmp_path / "new"])
    low, high = t_interval(np.array([-100.0, 100.0, 0.0, 0.0]))
    assert row == {
        "use": "classify",
        "method": "staged search",
        "cell": "clean",
        "images": 4,
        "old": "75.00",
        "new": "75.00",
        "new_low": f"{100 * wilson_interval(3, 4)[0]:.2f}",
        "new_high": f"{100 * wilson_interval(3, 4)[1]:.2f}",
        "difference": "+0.00",
        "low": f"{low:+.2f}",
        "high": f"{high:+.2f}",
    }


def test_an_image_in_several_cells_counts_once(tmp_path: Path) -> None:
    data = open_dataset("fashion", split="test")
    ids = [compare_fashion_models.content_id(to_tensor(data[i][0])) for i in range(3)]
    labels = [int(label) for label in data.labels[:3]]
    spoiled = {("old", "fog", 0), ("old", "clean", 1), ("new", "clean", 2)}
    cells = [("clean", 0), ("fog", 5)]
    for folder in ("old", "new"):
        rows = [{"corruption": name, "severity": severity, "method": "default", "seed": 0} for name, severity in cells]
        write_rows(tmp_path / folder / "adapt.csv", rows)
        with StudyRecord(tmp_path / folder / "outcomes.jsonl", Outcome) as record:
            for name, severity in cells:
                predictions = [(y + ((folder, name, i) in spoiled)) % 10 for i, y in enumerate(labels)]
                outcomes = [Outcome(y, False, 45, 0, 0.0) for y in predictions]
                record.append(ids, {f"{name}-{severity}-default-0": outcomes})
    rows = compare_fashion_models.compare_adapted([tmp_path / "old", tmp_path / "new"])
    assert [row["cell"] for row in rows] == ["clean", "fog 5", "all"]
    assert [row["difference"] for row in rows] == ["+0.00", "+33.33", "+16.67"]
    low, high = t_interval(np.array([50.0, 50.0, -50.0]))
    assert (rows[-1]["low"], rows[-1]["high"]) == (f"{low:+.2f}", f"{high:+.2f}")
    assert rows[-1]["images"] == 3
    assert rows[-1]["new_low"] == rows[-1]["new_high"] == ""


def test_the_script_appends_a_row_for_each_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("old", "new"):
        row: dict[str, object] = {"image": "0", "true": "bag", "predicted": "bag"}
        write_rows(tmp_path / folder / "classify.csv", [row, row | {"image": "1"}])
    monkeypatch.setattr(compare_fashion_models, "TABLE", tmp_path / "table.csv")
    options = ["--old-name", "large", "--new-name", "small", "--measured-by", "vl-diffusion classify fashion"]
    folders = ["--clean", str(tmp_path / "old"), str(tmp_path / "new")]
    monkeypatch.setattr("sys.argv", ["compare_fashion_models.py", *options, *folders])
    compare_fashion_models.main()
    with (tmp_path / "table.csv").open(newline="") as file:
        (written,) = csv.DictReader(file)
    assert (written["old_model"], written["new_model"], written["new"]) == ("large", "small", "100.00")
    assert written["measured_by"] == "vl-diffusion classify fashion"
