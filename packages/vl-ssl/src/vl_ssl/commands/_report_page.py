"""The report page of a training: one HTML file that needs nothing else, neither scripts nor other files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vl_core.runs import atomic_write
from vl_core.tables import utf8

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.alarm { border-left: 4px solid #d55e00; padding: .2rem .8rem; }
"""


def write_page(
    path: Path,
    title: str,
    *,
    figure: Path,
    caption: str,
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]],
    alarms: Sequence[str],
    calm: str = "no alarm",
) -> None:
    """Write a page with a figure, alarms and tables; all text is escaped.

    Args:
        path: File to write.
        title: Heading.
        figure: PNG, which is put into the page.
        caption: Its description.
        tables: Head and rows by heading.
        alarms: Lines to mark.
        calm: Line where there is none.
    """
    data = base64.b64encode(figure.read_bytes()).decode("ascii")
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        *(f'<p class="alarm">{_text(alarm)}</p>' for alarm in alarms),
        *(() if alarms else (f"<p>{_text(calm)}</p>",)),
        f'<figure style="margin: 0"><img src="data:image/png;base64,{data}" alt="{_text(caption)}">',
        f"<figcaption>{_text(caption)}</figcaption></figure>",
    ]
    for heading, (head, rows) in tables.items():
        cells = "".join(f"<th>{_text(cell)}</th>" for cell in head)
        lines += [f'<h2>{_text(heading)}</h2><div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>']
        lines += ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
        lines += ["</tbody></table></div>"]
    with atomic_write(path) as file:
        file.write("\n".join([*lines, "</body></html>", ""]))


def _text(text: str) -> str:
    return escape(utf8(text))
