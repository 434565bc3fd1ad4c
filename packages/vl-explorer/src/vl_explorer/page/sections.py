"""Parts of the page, each an element with an id, which the page in a browser replaces when it has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from vl_explorer.page.figures import Series, line_chart
from vl_explorer.page.state import BestConcept, IterationRow, RunState, WallImage
from vl_explorer.page.texts import escaped, host, link, size_text

Images = Callable[[str], str | None]
"""Address of the small version of an image by its SHA-256, None where there is none."""


def sections(state: RunState, images: Images) -> str:
    """All parts of the page."""
    parts = (
        _status(state), _numbers(state), _charts(state), _concepts(state), _refusals(state), _wall(state, images),
        _iterations(state), _settings(state),
    )  # fmt: skip
    return "\n".join(parts)


def status_text(state: RunState) -> str:
    """State of the run in a sentence."""
    if state.complete:
        return f"Finished: all {state.planned} iterations are done."
    done = f"{state.finished} of {state.planned}" if state.planned else f"{state.finished}"
    at_work = state.current
    if at_work is None or state.current_results is None:
        return f"{done} iterations are finished; the next one has not begun.{_last(state)}"
    queries, results = at_work.queries, state.current_results
    found = [f"{queries.total - queries.open} of {queries.total} queries searched"]
    found += [f"{queries.dropped} dropped"] if queries.dropped else []
    found += [f"{queries.failed} failed"] if queries.failed else []
    return (
        f"{done} iterations are finished. Iteration {at_work.number}: {', '.join(found)}, {results.images:,} images "
        f"from {results.results:,} results, {results.failed:,} refused.{_last(state)}"
    )


def _last(state: RunState) -> str:
    if state.last_image_at is None:
        return ""
    return f" The last image came at {datetime.fromtimestamp(state.last_image_at, UTC):%Y-%m-%d %H:%M:%S} UTC."


def _status(state: RunState) -> str:
    share, most = state.finished, state.planned or max(state.finished, 1)
    mark = "finished" if state.complete else "running"
    return (
        f'<section id="status" data-state="{mark}"><p role="status" class="{mark}">{escaped(status_text(state))}</p>'
        f'<progress max="{most}" value="{share}" aria-label="Iterations finished">{share} of {most}</progress>'
        "</section>"
    )


def _numbers(state: RunState) -> str:
    last = next((row.summary for row in reversed(state.iterations) if row.summary is not None), None)
    tiles = [
        ("images of the run", f"{state.images:,}"),
        ("results refused", f"{state.refused:,}"),
        ("requests", f"{state.requests:,}"),
        ("cost", f"${state.cost:,.2f}"),
        ("mean reward, last iteration", "–" if last is None else f"{last.image_reward:.3f}"),
        ("reward of the best tenth", "–" if last is None else f"{last.best_reward:.3f}"),
        ("k-NN accuracy", "–" if last is None or last.accuracy is None else f"{100 * last.accuracy:.1f} %"),
        ("store, all runs", f"{state.stored_images:,} images, {size_text(state.stored_bytes)}"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f'<section id="numbers"><h2 class="unseen">Numbers</h2><dl class="tiles">{cells}</dl></section>'


def _charts(state: RunState) -> str:
    numbers = list(state.summaries)
    rows = list(state.summaries.values())
    figures = [
        ("Reward over iterations", [
            Series("mean of all images", [row.image_reward for row in rows]),
            Series("best tenth", [row.best_reward for row in rows]),
        ]),
        ("k-NN accuracy, %", [
            Series("accuracy", [None if row.accuracy is None else 100 * row.accuracy for row in rows])
        ]),
        ("Images of an iteration", [
            Series("found", [float(row.found) for row in rows]),
            Series("new", [float(row.new) for row in rows]),
            Series("refused", [float(row.refused) for row in rows]),
        ]),
    ]  # fmt: skip
    if all(row.accuracy is None for row in rows):
        del figures[1]
    return (
        '<section id="charts"><h2>Over iterations</h2><div class="charts">'
        + "".join(_figure(title, series, numbers, state.planned) for title, series in figures)
        + "</div></section>"
    )


def _figure(title: str, series: Sequence[Series], numbers: Sequence[int], planned: int | None) -> str:
    names = "".join(f'<span class="key key{place}">{line.name}</span>' for place, line in enumerate(series))
    legend = f" <span class='keys'>{names}</span>" if len(series) > 1 else ""
    return (
        f"<figure><figcaption>{title}{legend}</figcaption>"
        f"{line_chart(series, numbers, title=title, of=planned)}</figure>"
    )


def _concepts(state: RunState) -> str:
    head = "Best concepts"
    if not state.concepts:
        return f'<section id="concepts"><h2>{head}</h2><p class="quiet">No concept was measured yet.</p></section>'
    most = max(max(concept.reward for concept in state.concepts), 1e-9)
    rows = [_concept(concept, most) for concept in state.concepts]
    table = _table(("concept", "reward", "", "iteration", "images"), rows, left=1)
    return f'<section id="concepts"><h2>{head}</h2>{table}</section>'


def _concept(concept: BestConcept, most: float) -> tuple[str, ...]:
    key = f'<br><small dir="auto">{escaped(concept.concept, 80)}</small>' if concept.concept != concept.text else ""
    width = 100 * min(max(concept.reward / most, 0.0), 1.0)
    bar = (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg>'
    )
    name = f'<span dir="auto">{escaped(concept.text, 120)}</span>{key}'
    return name, f"{concept.reward:.3f}", bar, f"{concept.iteration}", f"{concept.images:,}"


def _wall(state: RunState, images: Images) -> str:
    shown = [_wall_image(image, images(image.sha256)) for image in state.wall]
    inner = f'<div class="wall">{"".join(shown)}</div>' if shown else '<p class="quiet">No image has a reward yet.</p>'
    return f'<section id="wall"><h2>Best images</h2>{inner}</section>'


def _wall_image(image: WallImage, address: str | None) -> str:
    source = image.source
    title = source.title or host(source.page_url) or host(source.url) or "untitled"
    alt = escaped(f"{title}, found for {source.query}" if source.query else title, 160)
    # Inside a file there is nothing to wait for, and a printed page shows all.
    lazy = "" if address is None or address.startswith("data:") else ' loading="lazy" decoding="async"'
    small = (
        '<div class="gone">file removed</div>'
        if address is None
        else f'<img src="{escaped(address)}" alt="{alt}" width="160" height="160"{lazy}>'
    )
    name = source.license or image.license_id
    lines = [
        f"<strong>{link(source.page_url or source.url, title, 60)}</strong>",
        f'by <span dir="auto">{escaped(source.author, 40)}</span>' if source.author else "author unknown",
        f"license {link(source.license_url, name, 40)}",
        f'query “<span dir="auto">{escaped(source.query, 60)}</span>”' if source.query else "",
        f"{escaped(source.engine, 30)} · {image.width}×{image.height} · {link(source.url, 'file')}",
        f"and {image.sources - 1} more places" if image.sources > 1 else "",
    ]
    caption = "<br>".join(line for line in lines if line)
    return (
        f'<figure id="image-{image.sha256[:16]}">{small}<span class="reward">{image.reward:.3f}</span>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _iterations(state: RunState) -> str:
    head = (
        "iteration", "queries", "dropped", "found", "new", "refused", "mean reward", "best tenth", "k-NN accuracy",
        "updates", "requests", "cost",
    )  # fmt: skip
    rows = [_iteration(row) for row in reversed(state.iterations)]
    return f'<section id="iterations"><h2>Iterations</h2>{_table(head, rows, left=1)}</section>'


def _iteration(row: IterationRow) -> tuple[str, ...]:
    counts, found = row.queries, row.summary
    spent = (f"{counts.requests:,}", f"${counts.cost:,.2f}")
    if found is None:
        return (f"{row.number}", f"{counts.total:,}", f"{counts.dropped:,}", "at work", *[""] * 6, *spent)
    return (
        f"{row.number}", f"{counts.total:,}", f"{found.dropped:,}", f"{found.found:,}", f"{found.new:,}",
        f"{found.refused:,}", f"{found.image_reward:.3f}", f"{found.best_reward:.3f}",
        "" if found.accuracy is None else f"{100 * found.accuracy:.1f} %", f"{found.trained:,}", *spent,
    )  # fmt: skip


def _refusals(state: RunState) -> str:
    head = "Refused, by reason"
    if not state.refusals:
        return f'<section id="refusals"><h2>{head}</h2><p class="quiet">Nothing was refused.</p></section>'
    rows = [(escaped(reason, 60), f"{count:,}") for reason, count in state.refusals.items()]
    return (
        f'<section id="refusals"><h2>{head}</h2><p class="quiet">Addresses of the whole store, of all its runs.</p>'
        f"{_table(('reason', 'addresses'), rows, left=1)}</section>"
    )


def _settings(state: RunState) -> str:
    rows = [(escaped(name, 60), _value(value)) for name, value in sorted(state.settings.items())]
    table = _table(("setting", "value"), rows, left=2) if rows else '<p class="quiet">None were kept.</p>'
    return f'<section id="settings"><h2>Settings</h2>{table}</section>'


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f'<span dir="auto">{escaped(text, 300)}</span>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """A table of cells that are HTML; the first cell of a row is its heading, `left` columns are aligned left."""
    names = "".join(
        f'<th scope="col"{_left(place, left)}>{escaped(name)}</th>' if name else "<td></td>"
        for place, name in enumerate(head)
    )
    body = "".join(
        f'<tr><th scope="row" class="left">{first}</th>'
        + "".join(f"<td{_left(place, left)}>{cell}</td>" for place, cell in enumerate(others, start=1))
        + "</tr>"
        for first, *others in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _left(place: int, left: int) -> str:
    return ' class="left"' if place < left else ""
