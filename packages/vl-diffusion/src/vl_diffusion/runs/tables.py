"""Results as a table for the terminal, a CSV file for people, and a Parquet file for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from vl_core.runs import atomic_write

from vl_diffusion.classification.result import Classification

# A row of a thousand classes takes 50 kilobytes: tables are made and written in groups of so many.
_ROWS_AT_ONCE = 1024


def write_csv(path: Path, names: Sequence[str], truths: Sequence[str | None], result: Classification) -> None:
    """A row an image: its name, the truth where it is known, the verdict, and the error under each class.

    In the column `pruned` stands how many classes the search gave up.
    """
    columns = ["image", "true", "predicted", "margin", "margin_standard_error", "probability", "evaluations", "pruned"]
    labels, margins, margin_errors = result.predicted_classes, result.margins, result.margin_standard_errors
    evaluations = result.total_evaluations
    with atomic_write(path, "wb") as file:
        # A byte of a file name that is no UTF-8 is written as \udc.., so that the file as a whole stays UTF-8.
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *(f"error: {name}" for name in result.classes)])
        for i, (name, truth) in enumerate(zip(names, truths, strict=True)):
            writer.writerow(
                [
                    name,
                    truth or "",
                    labels[i],
                    f"{margins[i]:.6g}",
                    f"{margin_errors[i]:.6g}",
                    f"{result.probabilities[i, result.predictions[i]]:.6g}",
                    evaluations[i],
                    result.pruned[i].sum(),
                    *(f"{error:.8g}" for error in result.errors[i]),
                ]
            )
        text.detach()


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Rows of figures, dataclass instances of one class, whose fields are the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{x:.6g}" if isinstance(x, float) else x for name, x in asdict(row).items()})
    with atomic_write(path, "wb") as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))


def write_parquet(path: Path, names: Sequence[str], truths: Sequence[str | None], result: Classification) -> None:
    """A row an image with all that is known of it; lists are in the order of the classes, named in the metadata.

    The columns are ``image, image_id, true, predicted, margin, margin_standard_error, probability, evaluations`` and
    the lists ``errors, standard_errors, draws, pruned, differences, difference_standard_errors, probabilities``.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "image": [_utf8(name) for name in names],
        "image_id": result.image_ids,
        "true": pa.array([None if truth is None else _utf8(truth) for truth in truths], pa.string()),
        "predicted": [_utf8(label) for label in result.predicted_classes],
        "margin": result.margins,
        "margin_standard_error": result.margin_standard_errors,
        "probability": result.probabilities[np.arange(len(result)), result.predictions],
        "evaluations": result.total_evaluations,
    }
    lists = ("errors", "standard_errors", "draws", "pruned", "differences")
    for name in (*lists, "difference_standard_errors", "probabilities"):
        columns[name] = getattr(result, name)

    def table(start: int) -> Any:
        rows = {name: values[start : start + _ROWS_AT_ONCE] for name, values in columns.items()}
        as_lists = {name: list(v) if getattr(v, "ndim", 1) == 2 else v for name, v in rows.items()}
        return pa.table(as_lists).replace_schema_metadata({"classes": json.dumps(list(result.classes))})

    first = table(0)
    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for start in range(_ROWS_AT_ONCE, len(result), _ROWS_AT_ONCE):
            writer.write_table(table(start))


def text_table(names: Sequence[str], truths: Sequence[str | None], result: Classification) -> str:
    """What a person wants to see at once: a line an image, and the share that is right."""
    columns = (("image", names), ("predicted", result.classes))
    shown = {text: _on_a_line(text) for text in (*names, *result.classes, *(t for t in truths if t is not None))}
    widths = [max(len(head), *(len(shown[text]) for text in column)) for head, column in columns]
    head = f"{'image':{widths[0]}}  {'true':{widths[1]}}  {'predicted':{widths[1]}}  {'margin ± s.e.':>19}  evaluations"
    lines = [head, "-" * len(head)]
    for i, (name, truth, label) in enumerate(zip(names, truths, result.predicted_classes, strict=True)):
        margin = f"{result.margins[i]:.5f} ± {result.margin_standard_errors[i]:.5f}"
        mark = "" if truth in (None, label) else "  wrong"
        evaluations = result.total_evaluations[i]
        lines.append(
            f"{shown[name]:{widths[0]}}  {shown[truth] if truth else '':{widths[1]}}  {shown[label]:{widths[1]}}  "
            f"{margin:>19}  {evaluations:>11}{mark}"
        )
    right = [truth == label for truth, label in zip(truths, result.predicted_classes, strict=True) if truth is not None]
    if right:
        lines.append(f"{sum(right)} of {len(right)} right ({100 * np.mean(right):.1f} %)")
    return "\n".join(lines)


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _on_a_line(text: str) -> str:
    """The text with line breaks and what else is not printed as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
