"""`vl-density toy`: ascent on a density that fits well, beside ascent on the true one."""

from __future__ import annotations

from vl_core.tables import percent, text_table, write_rows

from vl_density.charts.toy_ascents import draw_toy
from vl_density.commands._threads import computing_threads
from vl_density.commands.settings.toy import Toy
from vl_density.toy.study import Points, study_ascent
from vl_density.toy.templates import TemplateDensity


def run(settings: Toy) -> None:
    """Fit the models, climb, and write the table and the figure.

    Raises:
        OSError: If a file cannot be written.
    """
    settings.check()
    variants = {
        "the model": (settings.width, settings.examples),
        "narrow": (settings.width // 4, settings.examples),
        "fewer data": (settings.width, settings.examples // 10),
    }
    found: dict[str, list[Points]] = {}
    with computing_threads(settings.threads):
        for name, (width, examples) in variants.items():
            found[name] = study_ascent(
                width=width,
                examples=examples,
                dimensions=settings.dimensions,
                templates=settings.templates,
                noise=settings.noise,
                updates=settings.updates,
                starts=settings.starts,
                steps=settings.steps,
                seeds=range(settings.seed, settings.seed + settings.seeds),
            )
    settings.out.mkdir(parents=True, exist_ok=True)
    write_rows(settings.out / "toy.csv", [_row(name, one) for name, points in found.items() for one in points])
    truth = TemplateDensity(
        dimensions=settings.dimensions, templates=settings.templates, noise=settings.noise, seed=settings.seed
    )
    draw_toy(settings.out / "toy.png", found, truth.templates.numpy())
    _print(found, settings)
    print(f"wrote toy.csv and toy.png to {settings.out}")


def _row(name: str, one: Points) -> dict[str, object]:
    left, above, excess = one.share_left(), one.share_left_above(), one.excess()
    return {
        "density": name,
        "width": one.width,
        "examples": one.examples,
        "points": one.kind,
        "count": len(one.seeds),
        "seeds": len(set(one.seeds.tolist())),
        "log_prob": float(one.log_prob.mean()),
        "true_log_prob": float(one.true_log_prob.mean()),
        "true less model": excess.estimate,
        "true less model low": excess.low,
        "true less model high": excess.high,
        "left": left.estimate,
        "left low": left.low,
        "left high": left.high,
        "left, above data": above.estimate,
        "left, above data low": above.low,
        "left, above data high": above.high,
        "flips": float(one.flips.mean()),
    }


def _print(found: dict[str, list[Points]], settings: Toy) -> None:
    rows = []
    for name, points in found.items():
        held_out = points[0]
        excess = held_out.excess()
        entropy = -held_out.true_log_prob.mean()
        gap = f"{excess.estimate:.3f} ({excess.low:.3f} to {excess.high:.3f})"
        size = [str(held_out.width), f"{held_out.examples:,}"]
        rows.append([name, *size, f"{-held_out.log_prob.mean():.2f}", f"{entropy:.2f}", gap])
    print(text_table(["density", "width", "examples", "held-out NLL", "of the truth", "difference, nats"], rows))
    print()
    rows = []
    for name, points in found.items():
        for one in points:
            left, above = one.share_left(), one.share_left_above()
            interval = f"{percent(left.estimate)} ({percent(left.low)} to {percent(left.high)})"
            levels = [f"{one.log_prob.mean():.1f}", f"{one.true_log_prob.mean():.1f}"]
            rows.append([name, one.kind, interval, percent(above.estimate), *levels])
    head = ["density", "points", "outside, %", "outside and above, %", "log p", "true log p"]
    print(text_table(head, rows, left=2))
    print("outside: the true log-density is below that of 999 in 1,000 held-out data")
    print("above: the model's log-density is above the mean of held-out data")
    print(f"means over {settings.seeds} seeds; intervals of 95 %, which draw the seeds")
