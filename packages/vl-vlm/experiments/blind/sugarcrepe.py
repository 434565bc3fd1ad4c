"""Accuracy of the blind word-count baseline on each category of SugarCrepe; no image is needed.

    python packages/vl-vlm/experiments/blind/sugarcrepe.py FOLDER

FOLDER holds the JSON files of the folder `data` of github.com/RAIVNLab/sugar-crepe; the committed rows are of commit
0047054. Writes `packages/vl-vlm/results/sugarcrepe_blind.csv` and prints the table of the page `docs/evaluation.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from vl_core.results import markdown_table, read_rows
from vl_core.tables import percent, write_rows
from vl_vlm import SugarCrepeTask, UnigramBaseline, evaluate

ROWS = Path(__file__).resolve().parents[2] / "results/sugarcrepe_blind.csv"


def rows(folder: Path) -> list[dict[str, object]]:
    """One row for each category, that is, each file."""
    found: list[dict[str, object]] = []
    for path in sorted(folder.glob("*.json")):
        items = json.loads(path.read_text(encoding="utf-8"))
        captions = [item["caption"] for item in items.values()]
        negatives = [item["negative_caption"] for item in items.values()]
        task = SugarCrepeTask([None] * len(items), captions, negatives, ids=list(items))
        row = evaluate(UnigramBaseline(task.texts()), task, name="unigram").row("accuracy")
        shares = {"value": row.value, "low": row.low, "high": row.high}
        shares |= {"official": row.official, "tie_rate": row.tie_rate}
        found.append({"category": path.stem, "items": row.items, **shares})
    return found


def table(found: Iterable[Mapping[str, str]]) -> str:
    """Table of the page, in percent."""
    cells = []
    for row in found:
        value, low, high, official, ties = (
            percent(float(row[name])) for name in ("value", "low", "high", "official", "tie_rate")
        )
        named = {"category": f"`{row['category']}`", "items": row["items"], "value": value}
        cells.append(named | {"interval": f"{low} to {high}", "official": official, "ties": ties})
    return markdown_table(cells, ["category", "items", "value", "interval", "official", "ties"])


if __name__ == "__main__":
    write_rows(ROWS, rows(Path(sys.argv[1])))
    print(table(read_rows(ROWS)), end="")
