"""One training loop: accelerate, bfloat16, gradient accumulation, EMA, schedules, progress, and exact resume.

`fit` minimizes a loss over a model, on any number of processes; rerun to resume. It needs the extra
``vl-core[training]``::

    settings = TrainingSettings(updates=1_000, batch_size=64, warmup=50, ema_decay=0.999)
    fit(model, Shuffled(dataset, seed=0), loss, settings, "runs/first")

A run is a row of *places*: update ``u`` sees the places ``u * batch_size`` to ``(u + 1) * batch_size - 1``. The data
set answers for any place, so that order and augmentation can be functions of the seed and the place alone; `Shuffled`
makes such a data set from a map-style one. That is why an update shows the same images on any number of processes, and
why a run resumes exactly in the middle of an epoch.
"""

from vl_core.training._ema import WeightEMA
from vl_core.training._loop import Loss, computing, fit
from vl_core.training._order import ResumableBatchSampler, Shuffled, shuffled_index
from vl_core.training._settings import Precision, TrainingSettings

__all__ = [
    "Loss",
    "Precision",
    "ResumableBatchSampler",
    "Shuffled",
    "TrainingSettings",
    "WeightEMA",
    "computing",
    "fit",
    "shuffled_index",
]
