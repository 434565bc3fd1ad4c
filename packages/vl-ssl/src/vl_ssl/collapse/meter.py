"""Collapse of a stream of features, from sums that do not grow with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vl_ssl.collapse.checks import check_options, checked_features, checked_views
from vl_ssl.collapse.lidar import ViewSummary
from vl_ssl.collapse.ranks import agree_on_dimensions, merge_ranks, rank_count
from vl_ssl.collapse.recent import Recent
from vl_ssl.collapse.report import CollapseReport, report_of
from vl_ssl.collapse.scatters import FactorSummary, GramSummary
from vl_ssl.collapse.sketches import SketchSummary
from vl_ssl.collapse.summary import Summary

_PARTS = ("summary", "views", "recent")


class CollapseMeter:
    """Streaming spectrum of features, and all metrics of collapse from it.

    Features enter batch by batch and are not kept: mean and centered scatter are updated in float64 (Chan, Golub and
    LeVeque, 1979), so that chunks, order and ranks do not matter, in d² numbers of memory. The sums live on the device
    of the first features (on the CPU for devices without float64). The meter takes tensors alone and detaches them:
    networks, their modes and their batch statistics are never touched.

    Args:
        dimensions: Width d of the features; by default that of the first.
        window: Only the last `window` samples count. They are kept as they come, ``(window, d)``, and the report of
            them is exact.
        forgetting: Half-life in samples, by which weights fall exponentially; the report gives the effective number of
            samples, about 2.9 half-lives.
        sketch: Rank of a Nyström sketch, for d of 8,000 and more: 2 d `sketch` numbers in place of d². Exact for
            spectra of at most this rank; the tail of longer ones is an estimate, and `CollapseReport.warning` says how
            much of the variance it has. LiDAR is not available.
        accurate: Keep the triangular factor of a streaming QR decomposition in place of the scatter. Squaring loses
            singular values below about √(d · 2.2e-16) of the largest, 3e-7 for d = 512, which become zero; the factor
            keeps them down to d · 2.2e-16. Takes several times longer.

    Raises:
        ValueError: If a number is out of range, or options exclude one another.

    Example:
        >>> meter = CollapseMeter()
        >>> for seed in range(4):
        ...     meter.update(torch.randn(250, 16, generator=torch.Generator().manual_seed(seed)))
        >>> report = meter.compute()
        >>> report.samples, report.dimensions, 0.53 < report.auc < 0.57, report.warning
        (1000, 16, True, '')
    """

    def __init__(
        self,
        dimensions: int | None = None,
        *,
        window: int | None = None,
        forgetting: float | None = None,
        sketch: int | None = None,
        accurate: bool = False,
    ):
        for name, value in {"dimensions": dimensions, "window": window, "sketch": sketch}.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, or None, got {value!r}")
        if forgetting is not None and not 0 < forgetting < math.inf:
            raise ValueError(f"forgetting must be a half-life above 0 in samples, or None, got {forgetting}")
        if window is not None and forgetting is not None:
            raise ValueError("window and forgetting must not both be given; a window forgets all at once")
        if sketch is not None and accurate:
            raise ValueError("sketch and accurate must not both be given; a sketch estimates small singular values")
        self.window = window
        self.forgetting = forgetting
        self.sketch = sketch
        self.accurate = accurate
        self._given = dimensions
        self.reset()

    def reset(self) -> None:
        """Forget all features, and their width where it was not given."""
        self._dimensions = self._given
        self._device = torch.device("cpu")
        self._summary: Summary | None = None
        self._views: ViewSummary | None = None
        self._recent = None if self.window is None else Recent(self.window)

    @property
    def dimensions(self) -> int | None:
        """Width d of the features; None while it is not known."""
        return self._dimensions

    @property
    def samples(self) -> int:
        """Number of rows that count now."""
        if self._recent is not None:
            return self._recent.rows
        return self._summary.count if self._summary is not None else 0

    def update(self, features: Tensor) -> None:
        """Add features; nothing changes where they are refused.

        Args:
            features: ``(B, d)``, of any floating dtype and device; B may be 0. On a GPU, this waits for them.

        Raises:
            TypeError: If they are no tensor of floating-point numbers.
            ValueError: If they have another shape or width, or are not finite.
        """
        with _plain_tensors():
            features = checked_features(features, self._dimensions)
            self._add(features)
            if self._views is not None and self.forgetting is not None:
                self._views.decay(2.0 ** (-len(features) / self.forgetting))

    def update_views(self, features: Tensor) -> None:
        """Add the features of several views of each image, for LiDAR and, as rows, for all other metrics.

        LiDAR is of the images that still count: in a window those of which all views lie in it; with forgetting, only
        while they weigh at least as much as one new image.

        Args:
            features: ``(B, q, d)``, q of at least 2 views of B images. The paper takes q = 50, and 1000 images at
                least; two views rank networks less reliably.

        Raises:
            TypeError: If they are no tensor of floating-point numbers.
            ValueError: If they have another shape or width, or are not finite, or the meter keeps a sketch.
        """
        if self.sketch is not None:
            raise ValueError("update_views needs the whole scatter, this meter keeps a sketch; call update(features)")
        with _plain_tensors():
            features = checked_views(features, self._dimensions)
            self._add(features.flatten(0, 1), features.shape[1])
            if self.window is None:
                if self._views is None:
                    self._views = ViewSummary(features.shape[2], self._device)
                self._views.update(features, half_life=self.forgetting)

    def compute(self) -> CollapseReport:
        """All metrics of the features so far, on this rank alone; see `synchronized`.

        Raises:
            ValueError: If there are none.
        """
        with _plain_tensors():
            summary, views = self._summaries()
            if summary is None:
                raise ValueError("a report needs at least one sample, the meter has seen none; call update(features)")
            lidar = None if views is None or views.between.weight < 1 else views.lidar()
            return report_of(summary, lidar=lidar)

    def merge(self, other: CollapseMeter) -> None:
        """Add what another meter has seen, as one stream beside this one; in a window, as what came last.

        Raises:
            ValueError: If the meters have different options or widths.
        """
        for name, value in self._options().items():
            if value != getattr(other, name):
                raise ValueError(
                    f"other must have {name} = {value} like this meter, got {getattr(other, name)}; "
                    "make both with the same options"
                )
        if None not in (self._dimensions, other._dimensions) and self._dimensions != other._dimensions:
            raise ValueError(f"other must have d = {self._dimensions} like this meter, got {other._dimensions}")
        if other is self:
            raise ValueError("other must be another meter, got this one; its samples would count twice")
        with _plain_tensors():
            if other._recent is not None:
                for block in other._recent.blocks:
                    self._add(block.rows, block.views)
                return
            if other._summary is None:
                return
            self._begin(other._summary.mean)
            if self._summary is not None:
                self._summary.merge(other._summary)
            if other._views is not None:
                if self._views is None:
                    self._views = ViewSummary(other._summary.dimensions, self._device)
                self._views.merge(other._views)

    def synchronized(self) -> CollapseMeter:
        """A meter of what all ranks of `torch.distributed` have seen; all must call this, and get the same bits.

        This meter stays as it is, so that calls may follow one another. Without a process group this is a copy. The
        windows of all ranks together become one meter without a window.

        Raises:
            ValueError: If the widths of the features differ between ranks.
        """
        with _plain_tensors():
            merged = CollapseMeter(self._given, forgetting=self.forgetting, sketch=self.sketch, accurate=self.accurate)
            dimensions = agree_on_dimensions(self._dimensions)
            if dimensions is None:
                return merged
            summary, views = self._summaries()
            merged._dimensions, merged._device = dimensions, self._device
            own = self._new(dimensions) if summary is None else summary
            merged._summary = merge_ranks(own, lambda: self._new(dimensions))
            if self.sketch is None:
                own_views = ViewSummary(dimensions, self._device) if views is None else views
                between = merge_ranks(own_views.between, lambda: GramSummary(dimensions, self._device))
                within = merge_ranks(own_views.within, lambda: GramSummary(dimensions, self._device))
                if between.count:
                    merged._views = ViewSummary(dimensions, self._device)
                    merged._views.between, merged._views.within = between, within
            return merged

    def all_reduce(self) -> None:
        """Replace what this meter has seen with what all ranks have; all must call this.

        For the end of an epoch: a second call counts everything once more for each rank. `synchronized` leaves the
        meter as it is.

        Raises:
            ValueError: If the meter has a window, whose samples are those of its own rank, or widths differ.
        """
        if self.window is not None:
            raise ValueError("all_reduce would replace the samples of a window with sums; use synchronized()")
        if rank_count() > 1:
            merged = self.synchronized()
            self._dimensions, self._summary, self._views = merged._dimensions, merged._summary, merged._views

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept, as tensors on their device, and the options, by which the state is known."""
        options = [float(value or 0) for value in self._options().values()]
        state = {"options": torch.tensor(options, dtype=torch.float64)}
        with _plain_tensors():
            for part in _PARTS:
                if (found := getattr(self, f"_{part}")) is not None:
                    state |= {f"{part}.{name}": value for name, value in found.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what a meter with the same options kept; the sums stay on the device of the tensors.

        Raises:
            ValueError: If the state is of a meter with other options or another width; nothing changes then.
        """
        if "options" not in state:
            raise ValueError(
                f"state must be what CollapseMeter.state_dict gave, got {', '.join(state)[:200] or 'nothing'}; "
                "load the state of the meter alone"
            )
        window, forgetting, sketch, accurate = state["options"].tolist()
        kept = (int(window) or None, forgetting or None, int(sketch) or None, bool(accurate))
        check_options(dict(zip(self._options(), kept, strict=True)), self._options(), "a meter")
        features = state.get("recent.rows", state.get("summary.means"))
        if features is not None and features.shape[1] != (self._given or features.shape[1]):
            raise ValueError(f"state must be of features with d = {self._given} like here, got {features.shape[1]}")
        with _plain_tensors():
            self.reset()
            if features is None:
                return
            self._begin(features)
            if "views.within" in state:
                self._views = ViewSummary(features.shape[1], self._device)
            for part in _PARTS:
                if (found := getattr(self, f"_{part}")) is not None:
                    found.load_state_dict(_under(f"{part}.", state))

    def _options(self) -> dict[str, Any]:
        """Those by which states and meters are told apart."""
        return {name: getattr(self, name) for name in ("window", "forgetting", "sketch", "accurate")}

    def _add(self, rows: Tensor, views: int = 0) -> None:
        """Add rows, which are that many views of each image."""
        self._begin(rows)
        if self._recent is not None:
            self._recent.add(rows, views)
        elif self._summary is not None:
            self._summary.update(rows, half_life=self.forgetting)

    def _begin(self, features: Tensor) -> None:
        """Know width and device from the first features, and make the summary; a window follows the latest device."""
        if self._dimensions is None:
            self._dimensions = features.shape[-1]
        if self._summary is None:
            self._device = features.device if features.device.type != "mps" else torch.device("cpu")
            if self.window is None:
                self._summary = self._new(self._dimensions)

    def _new(self, dimensions: int) -> Summary:
        if self.sketch is not None:
            return SketchSummary(dimensions, self._device, rank=min(self.sketch, dimensions))
        return (FactorSummary if self.accurate else GramSummary)(dimensions, self._device)

    def _summaries(self) -> tuple[Summary | None, ViewSummary | None]:
        """Those of the samples that count now."""
        if self._recent is None:
            return self._summary, self._views
        if self._dimensions is None or not self._recent.rows:
            return None, None
        summary, views = self._new(self._dimensions), ViewSummary(self._dimensions, self._device)
        for block in self._recent.blocks:
            summary.update(block.rows)
            if (images := block.images()) is not None:
                views.update(images)
        return summary, views


def collapse_report(features: Tensor, *, accurate: bool = False) -> CollapseReport:
    """All metrics of collapse of a feature matrix.

    Args:
        features: ``(n, d)``, or ``(n, q, d)`` of q views of each image for LiDAR too; any floating dtype and device.
        accurate: See `CollapseMeter`.

    Raises:
        TypeError: If they are no tensor of floating-point numbers.
        ValueError: If they have another shape, no row, or are not finite.

    Example:
        >>> report = collapse_report(torch.eye(4).repeat(25, 1))
        >>> report.dimensions, round(report.effective_rank, 6)
        (4, 3.0)
    """
    meter = CollapseMeter(accurate=accurate)
    (meter.update_views if getattr(features, "ndim", 2) == 3 else meter.update)(features)
    return meter.compute()


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@contextlib.contextmanager
def _plain_tensors() -> Iterator[None]:
    """Without gradients; and not in inference mode, whose tensors no later update could change."""
    with torch.inference_mode(False), torch.no_grad():
        yield
