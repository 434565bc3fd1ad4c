"""`vl-density ood`: scores of images out of the distribution, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vl_core.charts import draw_intervals
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.tables import text_table, write_rows

from vl_density.commands._images import open_images
from vl_density.commands.settings.ood import OutOfDistribution
from vl_density.datasets.outside import OUTSIDE, open_fashion, open_outside
from vl_density.models.folders import BUILT_IN
from vl_density.models.pretrained import load_density
from vl_density.ood.evaluation import OODResult, clearly_best, evaluate_scores
from vl_density.ood.likelihoods import RememberedDensity
from vl_density.ood.scores import WAIC, InputComplexity, LikelihoodRatio, NegativeLogLikelihood, OODScore, Typicality


def run(settings: OutOfDistribution) -> None:
    """Score all sets, and write the tables and the figure.

    Raises:
        ValueError: If the densities have different sizes, or a set has fewer than two images.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    device = find_device(settings.device)
    densities = [RememberedDensity(load_density(name).to(device)) for name in settings.densities]
    background = None
    if (name := _background(settings)) is not None:
        background = RememberedDensity(load_density(name).to(device))
    first = densities[0].model
    sizes = {(model.model.channels, *model.model.image_size, model.model.levels) for model in densities}
    if len(sizes) > 1:
        raise ValueError(
            f"--densities must be of one size and number of levels, got {' and '.join(map(str, sorted(sizes)))}"
        )

    def opened(source: str, limit: int) -> Tensor:
        found = open_images(source, None, "test", limit=limit, exclude=settings.out, seed=settings.seed)
        return found.batch((first.channels, *first.image_size), first.levels)

    if settings.inside is None:
        inside = _some(open_fashion("test"), 2 * settings.limit, settings.seed)
    else:
        inside = opened(settings.inside, 2 * settings.limit)
    half = len(inside) // 2
    fitted_on, rest = inside[:half], inside[half:]
    if settings.outside:
        names = _names(settings.outside)
        outside = {name: opened(source, settings.limit) for name, source in zip(names, settings.outside, strict=True)}
    else:
        outside = {name: _some(open_outside(name), settings.limit, settings.seed) for name in OUTSIDE}
    for name, images in {"inside": rest, **outside}.items():
        if len(images) < 2:
            raise ValueError(f"{name} must hold at least two images, got {len(images)}; an interval needs them")
    # Likelihoods take the time; what follows takes none of them again.
    everything: list[Any] = [fitted_on, rest, *outside.values()]
    models = densities if background is None else [*densities, background]
    with progress_bar(total=len(models) * len(everything), desc="likelihoods", unit="sets") as bar:
        for model in models:
            for images in everything:
                model.log_probs(images)
                bar.update()
    results, scores = evaluate_scores(
        _scores(densities, background, settings.codecs),
        rest,
        outside,
        fitted_on=fitted_on,
        repetitions=settings.repetitions,
        seed=settings.seed,
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    write_rows(settings.out / "ood.csv", [_row(one) for one in results])
    write_rows(
        settings.out / "scores.csv",
        [
            {"score": name, "set": which, "image": index, "value": float(value)}
            for name, sets in scores.items()
            for which, values in sets.items()
            for index, value in enumerate(values)
        ],
    )
    panels = {name: {one.score: one.metrics["AUROC"] for one in results if one.outside == name} for name in outside}
    title = f"images outside, against {len(rest)} inside"
    draw_intervals(settings.out / "ood.png", panels, title=title, label="AUROC", ticks=(0, 0.5, 1), reference=0.5)
    _print(results, len(rest), {name: len(images) for name, images in outside.items()})
    print(f"wrote ood.csv, scores.csv and ood.png to {settings.out}")


def _background(settings: OutOfDistribution) -> str | None:
    """Name of the background density: the built-in one belongs to built-in densities alone."""
    if settings.background != "auto":
        return settings.background
    return "fashion-background" if set(settings.densities) <= set(BUILT_IN) else None


def _names(sources: tuple[str, ...]) -> list[str]:
    """Last parts of paths; whole paths where two are the same, or one is the name of the images inside."""
    short = [Path(source).name or source for source in sources]
    if len(set(short)) < len(short) or "inside" in short:
        return [f"{source} (outside)" for source in sources]
    return short


def _some(images: Tensor, count: int, seed: int) -> Tensor:
    """At most so many images, chosen at random."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:count]]


def _scores(
    densities: list[RememberedDensity], background: RememberedDensity | None, codecs: tuple[str, ...]
) -> dict[str, OODScore]:
    """Scores by name."""
    first = densities[0]
    found: dict[str, OODScore] = {"likelihood": NegativeLogLikelihood(first)}
    if background is not None:
        found["likelihood ratio"] = LikelihoodRatio(first, background)
    found |= {f"complexity, {codec}": InputComplexity(first, codec) for codec in codecs}
    found["typicality"] = Typicality(first)
    if len(densities) > 1:
        found["WAIC"] = WAIC(densities)
    return found


def _row(one: OODResult) -> dict[str, object]:
    row: dict[str, object] = {"set": one.outside, "score": one.score}
    for metric, interval in one.metrics.items():
        row |= {metric: interval.estimate, f"{metric} low": interval.low, f"{metric} high": interval.high}
    return row


def _print(results: list[OODResult], inside: int, outside: dict[str, int]) -> None:
    rows = []
    for one in results:
        area, precision, false = (one.metrics[name] for name in ("AUROC", "AUPR", "FPR95"))
        interval = f"{area.estimate:.3f} ({area.low:.3f} to {area.high:.3f})"
        rows.append([one.outside, one.score, interval, f"{precision.estimate:.3f}", f"{false.estimate:.3f}"])
    print(text_table(["set", "score", "AUROC", "AUPR", "FPR95"], rows))
    print(
        f"images outside are the positive class, {inside} inside against "
        f"{', '.join(f'{count} {name}' for name, count in outside.items())}; intervals of 95 %"
    )
    print("AUROC below 0.5: images outside are taken for more typical than those inside")
    print("FPR95: share of images inside that are taken for outside where 95 % of those outside are found")
    for name in outside:
        best = clearly_best(results, name)
        print(f"{name}: {'no score is clearly best' if best is None else f'{best} is clearly best'}")
