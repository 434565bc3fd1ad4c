"""Returns of the episodes of training, recorded while a progress bar runs, and charts of them by method and seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from vl_core.progress import progress_bar
from vl_rl.charts.learning_curves import draw_learning_curves
from vl_rl.training.comparison import curve_of


class EpisodeReturns(BaseCallback):
    """Record the step and the return of every episode that ends.

    Args:
        name: Name of the run beside its progress.
        steps: Environment steps of the run.
    """

    def __init__(self, name: str, steps: int) -> None:
        super().__init__()
        self.found: list[tuple[int, float]] = []
        self._bar = progress_bar(total=steps, desc=name, unit="step")

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        for info in self.locals["infos"]:
            if "episode" in info:
                self.found.append((self.num_timesteps, float(info["episode"]["r"])))
        return True


def draw_rows(
    path: Path, rows: Iterable[Mapping[str, str]], *, method: str, value: str = "return", title: str, metric: str
) -> None:
    """Draw the curves of a table with a row for each method, seed and step.

    Args:
        path: The PNG to write.
        rows: Rows of the table.
        method: Column with the method.
        value: Column with the values.
        title: Heading.
        metric: Label of the values.
    """
    points: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        points[row[method]][int(row["seed"])][int(row["step"])] = float(row[value])
    draw_learning_curves(path, [curve_of(name, own) for name, own in points.items()], title=title, metric=metric)
