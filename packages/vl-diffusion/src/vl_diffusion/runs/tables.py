"""A classification as a table for the terminal, a CSV file for people, and a Parquet file for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.tables import open_csv, printable, utf8, write_parquet

from vl_diffusion.classification.result import Classification


def write_classification_csv(
    path: Path, names: Sequence[str], truths: Sequence[str | None], result: Classification
) -> None:
    """A row per image: its name, the true class where known, the predicted class, and the error under each class.

    The column `undecided` holds ``yes`` where the margin is within its standard error, and `pruned` the number of
    classes that the search gave up.
    """
    columns = ["image", "true", "predicted", "undecided", "margin", "margin_standard_error"]
    columns += ["probability", "evaluations", "pruned"]
    labels, margins, margin_errors = result.predicted_classes, result.margins, result.margin_standard_errors
    evaluations, undecided = result.total_evaluations, result.undecided
    with open_csv(path) as write:
        write([*columns, *(f"error: {name}" for name in result.classes)])
        for i, (name, truth) in enumerate(zip(names, truths, strict=True)):
            write(
                [
                    spreadsheet_safe(name, is_path=True),
                    spreadsheet_safe(truth or ""),
                    spreadsheet_safe(labels[i]),
                    "yes" if undecided[i] else "",
                    f"{margins[i]:.6g}",
                    f"{margin_errors[i]:.6g}",
                    f"{result.probabilities[i, result.predictions[i]]:.6g}",
                    evaluations[i],
                    result.pruned[i].sum(),
                    *(f"{error:.8g}" for error in result.errors[i]),
                ]
            )


def write_classification_parquet(
    path: Path, names: Sequence[str], truths: Sequence[str | None], result: Classification
) -> None:
    """One row per image with all its results; lists are in the order of the classes, named in the metadata.

    The columns are ``image, image_id, true, predicted, undecided, margin, margin_standard_error, probability,
    evaluations`` and the lists ``errors, standard_errors, draws, pruned, differences, difference_standard_errors,
    probabilities``.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "image": [utf8(name) for name in names],
        "image_id": result.image_ids,
        "true": pa.array([None if truth is None else utf8(truth) for truth in truths], pa.string()),
        "predicted": [utf8(label) for label in result.predicted_classes],
        "undecided": result.undecided,
        "margin": result.margins,
        "margin_standard_error": result.margin_standard_errors,
        "probability": result.probabilities[np.arange(len(result)), result.predictions],
        "evaluations": result.total_evaluations,
    }
    lists = ("errors", "standard_errors", "draws", "pruned", "differences")
    for name in (*lists, "difference_standard_errors", "probabilities"):
        columns[name] = getattr(result, name)
    write_parquet(path, columns, metadata={"classes": json.dumps(list(result.classes))})


def classification_table(names: Sequence[str], truths: Sequence[str | None], result: Classification) -> str:
    """Table for the terminal: one line per image, the accuracy, and the number of undecided answers."""
    columns = (("image", names), ("predicted", result.classes))
    shown = {text: printable(text) for text in (*names, *result.classes, *(t for t in truths if t is not None))}
    widths = [max(len(head), *(len(shown[text]) for text in column)) for head, column in columns]
    head = f"{'image':{widths[0]}}  {'true':{widths[1]}}  {'predicted':{widths[1]}}  {'margin ± s.e.':>19}  evaluations"
    lines = [head, "-" * len(head)]
    for i, (name, truth, label) in enumerate(zip(names, truths, result.predicted_classes, strict=True)):
        margin = f"{result.margins[i]:.5f} ± {result.margin_standard_errors[i]:.5f}"
        mark = "  undecided" if result.undecided[i] else ""
        if truth not in (None, label):
            mark += ", wrong" if mark else "  wrong"
        evaluations = result.total_evaluations[i]
        lines.append(
            f"{shown[name]:{widths[0]}}  {shown[truth] if truth else '':{widths[1]}}  {shown[label]:{widths[1]}}  "
            f"{margin:>19}  {evaluations:>11}{mark}"
        )
    correct = [
        truth == label for truth, label in zip(truths, result.predicted_classes, strict=True) if truth is not None
    ]
    if correct:
        lines.append(f"{sum(correct)} of {len(correct)} correct ({100 * np.mean(correct):.1f} %)")
    if result.undecided.any():
        lines.append(undecided_line(result))
    return "\n".join(lines)


def undecided_line(result: Classification) -> str:
    """Number of answers whose margin is within its standard error, in a sentence."""
    count = int(result.undecided.sum())
    return f"{count} of {len(result)} answers {'is' if count == 1 else 'are'} undecided: the margin is within its s.e."


def spreadsheet_safe(text: str, *, is_path: bool = False) -> str:
    """The text such that a spreadsheet does not take it for a formula.

    Names come from whoever made the images. A path that begins like a formula gets ``./`` in front, and stays the same
    path; another name gets an apostrophe, unless it is a number.
    """
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")) or re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
        return text
    return f"./{text}" if is_path else f"'{text}"
