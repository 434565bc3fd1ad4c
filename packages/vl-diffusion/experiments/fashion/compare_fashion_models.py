r"""Compare two diffusion models of Fashion-MNIST on the same images: as classifiers, and as teachers of adaptation.

Each model is measured by the commands first, with the same options but `--model` and `--out`::

    vl-diffusion classify fashion --split test --search staged --model <old> --out runs/old_clean
    vl-diffusion adapt --methods source default diffusion_classifier --model <old> --out runs/old_adapt

and the same for the new one; then::

    python packages/vl-diffusion/experiments/fashion/compare_fashion_models.py --old-name old --new-name new \
        --measured-by <the commands> --clean runs/old_clean runs/new_clean --adapt runs/old_adapt runs/new_adapt

appends to `packages/vl-diffusion/benchmarks/fashion_models.csv` a row for the clean images, and one for each method in
each cell and over all cells, and prints them as a table. Differences are new minus old, in percentage points, with a
95 % interval: Student's t over images, where an image in several cells counts once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from vl_core.data import open_dataset
from vl_core.results import append_row, markdown_table, provenance, read_rows, wilson_interval
from vl_diffusion.models.images import content_id, to_tensor
from vl_diffusion.studies.adaptation.gains import t_interval
from vl_diffusion.studies.adaptation.runners import Outcome
from vl_diffusion.studies.record import StudyRecord

TABLE = Path(__file__).resolve().parents[2] / "benchmarks/fashion_models.csv"


def comparison(old: np.ndarray, new: np.ndarray) -> dict[str, object]:
    """Compare the correctness of two models.

    Args:
        old: bool ``(cells, images)``.
        new: The same for the other model, on the same images.

    Returns:
        Images, accuracies with Wilson's interval of the new one (only of a single cell, where images are independent),
        and the difference with its interval, all in per cent.
    """
    low, high = t_interval(100 * (new.astype(float) - old).mean(0))
    row: dict[str, object] = {
        "images": old.shape[1],
        "old": f"{100 * old.mean():.2f}",
        "new": f"{100 * new.mean():.2f}",
        "new_low": "",
        "new_high": "",
        "difference": f"{100 * (new.mean() - old.mean()):+.2f}",
        "low": f"{low:+.2f}",
        "high": f"{high:+.2f}",
    }
    if len(new) == 1:
        ends = wilson_interval(int(new.sum()), new.size)
        row["new_low"], row["new_high"] = (f"{100 * end:.2f}" for end in ends)
    return row


def compare_clean(folders: Sequence[Path]) -> list[dict[str, object]]:
    """Compare the `classify.csv` of two folders on the images that both have."""
    correct = [
        {r["image"]: r["true"] == r["predicted"] for r in read_rows(folder / "classify.csv")} for folder in folders
    ]
    images = [image for image in correct[0] if image in correct[1]]
    old, new = (np.array([[one[image] for image in images]]) for one in correct)
    return [{"use": "classify", "method": "staged search", "cell": "clean"} | comparison(old, new)]


def compare_adapted(folders: Sequence[Path]) -> list[dict[str, object]]:
    """Compare the outcomes of two folders of `vl-diffusion adapt`, by method, in each cell and over all cells."""
    data = open_dataset("fashion", split="test")
    truth = {content_id(to_tensor(data[i][0])): label for i, label in enumerate(data.labels)}
    records = [StudyRecord(folder / "outcomes.jsonl", Outcome) for folder in folders]
    cells: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for row in read_rows(folders[0] / "adapt.csv"):
        run = f"{row['corruption']}-{row['severity']}-{row['method']}-{row['seed']}"
        old, new = (record.of(run) for record in records)
        ids = [one for one in old if one in new]
        before, after = (np.array([of[one].prediction == truth[one] for one in ids]) for of in (old, new))
        name = f"{row['corruption']} {row['severity']}" if row["severity"] != "0" else row["corruption"]
        cells.setdefault(row["method"], []).append((name, before, after))
    rows = []
    for method, found in cells.items():
        parts = [(name, old[None], new[None]) for name, old, new in found]
        parts.append(("all", np.stack([old for _, old, _ in found]), np.stack([new for _, _, new in found])))
        rows += [{"use": "adapt", "method": method, "cell": name} | comparison(old, new) for name, old, new in parts]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old-name", required=True, help="what to call the old model")
    parser.add_argument("--new-name", required=True, help="what to call the new model")
    parser.add_argument("--clean", type=Path, nargs=2, help="folders of the old and the new model's classify")
    parser.add_argument("--adapt", type=Path, nargs=2, help="folders of the old and the new model's adapt")
    parser.add_argument("--measured-by", nargs="+", required=True, help="commands that wrote the folders")
    args = parser.parse_args()
    rows = (compare_clean(args.clean) if args.clean else []) + (compare_adapted(args.adapt) if args.adapt else [])
    by = "; ".join(args.measured_by)
    for row in rows:
        names = {"old_model": args.old_name, "new_model": args.new_name}
        append_row(TABLE, names | row | provenance() | {"measured_by": by})
    print(markdown_table(rows, list(rows[0])), end="")


if __name__ == "__main__":
    main()
