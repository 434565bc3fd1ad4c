"""The race as HTML: one lane per class, with its difference to the leader and its interval.

Lanes keep their position in the document and are moved only by CSS, so that the browser animates them between rounds.
"""

from __future__ import annotations

from html import escape

import numpy as np

from vl_diffusion.demo._race import Race

_LANES = 16
_HEIGHT = 30
# Width of the chart to the left of the leader, relative to the width to its right.
_LEFT = 0.28
# Minimum distance of two axis labels, in percent of the width.
_TICKS_APART = 12.0

CSS = """
--win: #2a7f62; --race: #33658a; --gone: #b9bec5; --line: #d5d9df; --faint: #6b7280;
.dark & { --win: #5fc9a0; --race: #7db4dd; --gone: #565d68; --line: #3c434e; --faint: #9aa3b0; }
.tiles { display: flex; flex-wrap: wrap; gap: 28px; margin-bottom: 14px; }
.tiles b { display: block; font-size: 26px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.tiles span, .note, .axis, .what { font-size: 12px; color: var(--faint); }
.lanes, .axis { position: relative; }
.lanes { transition: height .4s; }
.lane { position: absolute; left: 0; right: 0; height: 30px; display: flex; align-items: center;
  transition: top .45s ease, opacity .45s; }
.name { width: 24%; padding-right: 10px; text-align: right; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; transition: color .4s; }
.track { position: relative; flex: 1; height: 100%; border-left: 1px solid var(--line); overflow: hidden; }
.note { width: 27%; padding-left: 10px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.zero, .tick { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--line); }
.zero { width: 2px; background: var(--win); }
.bar { position: absolute; top: 9px; height: 12px; border-radius: 6px; background: var(--race); opacity: .38;
  transition: left .4s, width .4s, background .4s; }
.dot { position: absolute; top: 8px; width: 14px; height: 14px; margin-left: -7px; border-radius: 7px;
  background: var(--race); transition: left .4s, background .4s; }
.leads .dot { background: var(--win); }
.leads .name { color: var(--win); font-weight: 700; }
.gone .dot, .gone .bar { background: var(--gone); }
.gone .name { color: var(--faint); text-decoration: line-through; }
.gone { opacity: .8; }
.axis { margin: 2px 27% 0 24%; height: 18px; }
.axis span { position: absolute; transform: translateX(-50%); }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
"""


class RaceChart:
    """Draws the states of one race, all on the scale of its first round."""

    def __init__(self) -> None:
        self._limit = 0.0
        self._lanes: list[int] = []

    def html(self, race: Race) -> str:
        """Draw the current state.

        Args:
            race: The race, after at least one round.
        """
        if not self._limit:
            self._limit = 1.15 * float(np.nanmax(np.abs(race.result.differences))) or 1.0
        shown = race.order[:_LANES].tolist()
        places = {k: place for place, k in enumerate(shown)}
        lower, upper = (ends[0] for ends in race.result.difference_intervals())
        lanes = [self._lane(race, k, places[k], lower[k], upper[k]) for k in self._kept(shown)]
        hidden = len(race.classes) - len(shown)
        more = f" {hidden:,} more classes with larger errors are not shown." if hidden else ""
        return (
            f"{_tiles(race)}"
            f'<div class="lanes" style="height:{_HEIGHT * len(shown)}px">{"".join(lanes)}</div>'
            f'<div class="axis">{self._axis()}</div>'
            '<div class="what">Increase of the denoising error over the leader (mean squared error, '
            "square-root scale): mean over the draws so far with its 95 % interval for a single look. The race needs "
            f"stronger evidence to drop a class, because it tests after every round.{more}</div>"
        )

    def _kept(self, shown: list[int]) -> list[int]:
        """The classes shown, each in its previous lane; new ones take the free lanes."""
        new = iter([k for k in shown if k not in self._lanes])
        if not self._lanes:
            # At first in the order of the names.
            self._lanes = sorted(new)
        else:
            self._lanes = [k if k in shown else next(new) for k in self._lanes]
        return self._lanes

    def _lane(self, race: Race, k: int, place: int, lower: float, upper: float) -> str:
        draws = int(race.result.draws[0, k])
        left, right = self._x(lower), self._x(upper)
        no_bar = k == race.leader or np.isnan(lower)
        bar = "hidden" if no_bar else f'style="left:{left:.2f}%;width:{right - left:.2f}%"'
        kind, note = "", f"{draws:,} draws"
        if k == race.leader:
            kind, note = "leads", f"{'wins' if race.finished else 'leads'} · {note}"
        elif race.out[k]:
            kind, note = "gone", f"out in round {race.last_seen[k]} · {note}"
        name = escape(race.classes[k])
        return (
            f'<div class="lane {kind}" style="top:{_HEIGHT * place}px">'
            f'<div class="name" title="{name}">{name}</div>'
            f'<div class="track"><div class="zero" style="left:{self._x(0.0):.2f}%"></div>'
            f'<div class="bar" {bar}></div>'
            f'<div class="dot" style="left:{self._x(float(race.result.differences[0, k])):.2f}%"></div></div>'
            f'<div class="note">{note}</div></div>'
        )

    def _x(self, difference: float) -> float:
        """Position in percent of the track width, on a square-root scale that magnifies small differences."""
        difference = self._limit if np.isnan(difference) else difference
        root = np.sign(difference) * np.sqrt(abs(difference) / self._limit)
        return float(100 * (np.clip(root, -_LEFT, 1) + _LEFT) / (1 + _LEFT))

    def _axis(self) -> str:
        decade = 10.0 ** np.floor(np.log10(self._limit))
        ticks: list[float] = []
        for x in (0.0, *(m * decade for m in (0.1, 0.2, 0.5, 1, 2, 5))):
            if x < 0.95 * self._limit and (not ticks or self._x(x) - self._x(ticks[-1]) > _TICKS_APART):
                ticks.append(x)
        return "".join(f'<span style="left:{self._x(x):.2f}%">{x:.6g}</span>' for x in ticks)


def _tiles(race: Race) -> str:
    saved = f"{100 * race.saved:.0f} % fewer than exhaustive search"
    cost = f"evaluations, {saved}" if race.finished else f"evaluations (exhaustive search: {race.exhaustive:,})"
    numbers = {
        "round": f"{race.rounds}",
        "still in the race": f"{int((~race.out).sum())}",
        "draws of the leader": f"{race.result.draws[0, race.leader]:,}",
        cost: f"{race.evaluations:,}",
    }
    tiles = "".join(f"<div><b>{number}</b><span>{what}</span></div>" for what, number in numbers.items())
    return f'<div class="tiles">{tiles}</div>'
