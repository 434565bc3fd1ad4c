"""Share of races that are lost, and their cost, where the best class is known.

Simulated errors of 10 classes: a common effect of each draw, a noise of each class, and nine runners-up that are all
equally near to the best class, which is the worst case for the family-wise error. A paired difference has a deviation
of about 1. Three kinds of noise: normal; heavy-tailed (Student's t with 3 degrees of freedom, cut off at 4); and normal
with a scale and a gap that grow with the time step. Beside the races stands a naive one: a t-test at the level itself
at every look.

A second part narrows the gap step by step: evaluations should grow as its square falls. Empirical Bernstein knows only
that no difference exceeds 10, which at these gaps counts for more than the deviation does. Takes about seven minutes of
one core::

    python packages/vl-diffusion/benchmarks/family_wise_error.py --out packages/vl-diffusion/benchmarks/family_wise_error.csv --plot packages/vl-diffusion/docs/family_wise_error.png
"""  # noqa: E501

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy import stats
from vl_core.charts import COLORS, GRAY, INK, MARKERS, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.results import append_row, provenance, read_rows, wilson_interval
from vl_diffusion.search import Racing, Request, SearchInput, nested_order

CLASSES, LEVEL = 10, 0.01
GAP, DRAWS = 0.2, 2000
GAPS, GAP_DRAWS = (0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8), 8000
# No simulated difference is larger: twice the largest noise, and the largest gap.
SPREAD = 10.0

Play = Callable[[np.ndarray], Generator[Request, np.ndarray, int]]


def simulate(noise: str, gap: float, draws: int, best: int, rng: np.random.Generator) -> np.ndarray:
    """Errors ``(K, M)`` of which class `best` has the smallest expected mean by `gap`."""
    time = (np.arange(draws) + 0.5) / draws
    if noise == "heavy-tailed":
        # The variance of Student's t with 3 degrees of freedom is 3.
        own = rng.standard_t(3, (CLASSES, draws)) / np.sqrt(6)
    else:
        own = rng.normal(0, np.sqrt(0.5), (CLASSES, draws))
    gaps = np.full(draws, gap)
    if noise == "time-structured":
        scale = 0.2 + 2.8 * time
        own *= scale / np.sqrt(np.mean(scale**2))
        gaps = 2 * gap * time
    errors = rng.normal(10, 3, draws) + own.clip(-4, 4) + gaps
    errors[best] -= gaps
    return errors


def naive(errors: np.ndarray) -> Generator[Request, np.ndarray, int]:
    """A race that drops a class when a t-test at the level itself says so; it looks as often as `Racing`."""
    draws = errors.shape[1]
    order, alive, count, seen = nested_order(draws), np.arange(CLASSES), 0, np.empty((CLASSES, 0))
    look = 6
    while len(alive) > 1 and count < draws:
        seen = np.concatenate([seen, (yield alive, order[count:look])], 1)
        count = look
        leader = seen.mean(1).argmin()
        differences = seen - seen[leader]
        deviation = differences.std(1, ddof=1)
        deviation[leader] = 1
        worse = differences.mean(1) / deviation * np.sqrt(count) > critical(count)
        alive, seen = alive[~worse], seen[~worse]
        look = min(draws, count + max(1, round(0.1 * count)))
    return int(alive[seen.mean(1).argmin()])


@cache
def critical(count: int) -> float:
    return float(stats.t.isf(LEVEL, count - 1))


def racing(**settings: object) -> Play:
    return lambda errors: Racing(draws=errors.shape[1], level=LEVEL, **settings).requests(SearchInput(CLASSES))


def play(search: Play, errors: np.ndarray) -> tuple[int, int]:
    """Predicted class of a search on a table of errors, and its evaluations."""
    requests, evaluations = search(errors), 0
    classes, draws = next(requests)
    while True:
        evaluations += len(classes) * len(draws)
        try:
            classes, draws = requests.send(errors[np.ix_(classes, draws)])
        except StopIteration as end:
            return end.value, evaluations


RACES: dict[str, Play] = {
    "racing, t": racing(aim="expectation"),
    "racing, t, aim=draws": racing(aim="draws"),
    "racing, bernstein": racing(aim="expectation", bound="bernstein", spread=SPREAD),
    "naive t-tests": naive,
}
TITLES = {
    "racing, t": "racing (in expectation)",
    "racing, t, aim=draws": "racing (on its draws)",
    "racing, bernstein": "racing (Bernstein)",
    "naive t-tests": "repeated t-tests",
}


def measure(part: str, noise: str, names: list[str], gap: float, draws: int, races: int, seed: int) -> list[dict]:
    """Rows of several searches on the same simulated races."""
    rng = np.random.default_rng(seed)
    wrong, cost = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for _ in range(races):
        best = int(rng.integers(CLASSES))
        errors = simulate(noise, gap, draws, best, rng)
        for name in names:
            winner, evaluations = play(RACES[name], errors)
            wrong[name] += winner != best
            cost[name] += evaluations
    rows = []
    for name in names:
        low, high = wilson_interval(races - wrong[name], races)
        rows.append(
            {
                "part": part,
                "noise": noise,
                "search": name,
                "level": LEVEL,
                "classes": CLASSES,
                "gap": gap,
                "draws": draws,
                "races": races,
                "wrong": wrong[name],
                "wrong_percent": f"{100 * wrong[name] / races:.2f}",
                "low": f"{100 * (1 - high):.2f}",
                "high": f"{100 * (1 - low):.2f}",
                "evaluations_per_race": f"{cost[name] / races:.1f}",
            }
        )
        print(" ".join(f"{value!s:>22}" for value in list(rows[-1].values())[1:3]), *list(rows[-1].values())[5:])
    return rows


def slope(rows: list[dict]) -> float:
    """Exponent with which evaluations depend on the gap, over the gaps up to 0.4: wider ones take hardly any draws."""
    small = [row for row in rows if float(row["gap"]) <= 0.4]
    gaps, cost = ([float(row[name]) for row in small] for name in ("gap", "evaluations_per_race"))
    return float(np.polyfit(np.log(gaps), np.log(cost), 1)[0])


def draw(path: Path, rows: list[dict]) -> None:
    figure = new_figure(PAGE_WIDTH, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_errors(left, [row for row in rows if row["part"] == "errors"])
    _draw_gaps(right, [row for row in rows if row["part"] == "gaps"])
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL)
    save_figure(figure, path)


def _draw_errors(axes: Axes, rows: list[dict]) -> None:
    kinds = list(dict.fromkeys(row["noise"] for row in rows))
    for i, name in enumerate(RACES):
        mine = [row for row in rows if row["search"] == name]
        share, low, high = (np.array([float(row[c]) for row in mine]) for c in ("wrong_percent", "low", "high"))
        place = np.arange(len(mine)) + 0.2 * (i - 1.5)
        # A share of 0 has no place on a logarithmic axis: an arrow points down from the upper end of its interval.
        axes.errorbar(place, np.maximum(share, 1e-3), yerr=[np.maximum(share - low, 0), high - share], markersize=5,
                      fmt=MARKERS[i], color=COLORS[i], label=TITLES[name])  # fmt: skip
        axes.plot(place[share == 0], high[share == 0], "v", color=COLORS[i], markersize=5)
    axes.axhline(100 * LEVEL, color=GRAY, linewidth=0.8, linestyle="--")
    axes.annotate(
        f"level {100 * LEVEL:g} %", (1, 100 * LEVEL), (-2, 3), ("axes fraction", "data"), "offset points",
        fontsize=SMALL, color=GRAY, ha="right",
    )  # fmt: skip
    axes.set(yscale="log", ylim=(5e-3, 20), ylabel="races lost, % (lines: 95 %)", xticks=range(len(kinds)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticklabels([kind.replace("-", "-\n") for kind in kinds])
    axes.set_title(f"{int(rows[0]['races']):,} races of {CLASSES} classes")
    style_axes(axes, grid="y")


def _draw_gaps(axes: Axes, rows: list[dict]) -> None:
    for i, name in enumerate(dict.fromkeys(row["search"] for row in rows)):
        mine = [row for row in rows if row["search"] == name]
        gaps, cost = (np.array([float(row[c]) for row in mine]) for c in ("gap", "evaluations_per_race"))
        number = list(RACES).index(name)
        axes.plot(gaps, cost, marker=MARKERS[number], color=COLORS[number], markersize=5, linewidth=1.4)
        place, text = ((2, 6), "left") if i else ((-5, -10), "right")
        axes.annotate(
            f"slope {slope(mine):.2f}", (gaps[3], cost[3]), place, textcoords="offset points",
            fontsize=SMALL, color=COLORS[number], ha=text,
        )  # fmt: skip
    start = float(rows[0]["evaluations_per_race"])
    axes.plot(gaps, start * (gaps / gaps[0]) ** -2, ":", color=INK, linewidth=1.2)
    axes.annotate("slope -2", (gaps[-2], start * (gaps[-2] / gaps[0]) ** -2), (6, 4), textcoords="offset points",
                  fontsize=SMALL, color=INK)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="gap, in deviations of a paired difference", ylabel="evaluations per race")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xticks(GAPS, [f"{gap:g}" for gap in GAPS])
    axes.set_xticks([], minor=True)
    axes.set_title("Cost of a race")
    style_axes(axes, grid="both")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--gap-races", type=int, default=300, help="races at each gap of the second part")
    parser.add_argument("--out", type=Path, help="append rows to this CSV file")
    parser.add_argument("--plot", type=Path, help="write this PNG file, of the CSV file's rows if there is one")
    parser.add_argument("--only-plot", action="store_true", help="measure nothing: plot the rows of --out")
    args = parser.parse_args()
    if args.only_plot:
        if not (args.out and args.plot):
            parser.error("--only-plot needs --out, the CSV file to read, and --plot, the PNG file to write")
        draw(args.plot, read_rows(args.out))
        return
    rows = []
    for seed, noise in enumerate(("normal", "heavy-tailed", "time-structured")):
        rows += measure("errors", noise, list(RACES), GAP, DRAWS, args.races, seed)
    for gap in GAPS:
        rows += measure("gaps", "normal", ["racing, t", "racing, bernstein"], gap, GAP_DRAWS, args.gap_races, 100)
    for name in ("racing, t", "racing, bernstein"):
        print(name, f"slope {slope([row for row in rows if row['part'] == 'gaps' and row['search'] == name]):.2f}")
    if args.out:
        made = provenance()
        for row in rows:
            append_row(args.out, row | made)
        rows = read_rows(args.out)
    if args.plot:
        draw(args.plot, rows)


if __name__ == "__main__":
    main()
