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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
