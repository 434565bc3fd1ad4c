"""The meter as a callback of Lightning, which comes with the extra ``lightning`` and is imported when one is made."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vl_ssl.collapse.checks import first_tensor
from vl_ssl.collapse.meter import CollapseMeter

if TYPE_CHECKING:
    from lightning.pytorch import Callback


def collapse_callback(
    module: str, *, every: int = 100, window: int = 4096, accurate: bool = False, prefix: str = "collapse"
) -> Callback:
    """Make a callback of Lightning that logs the metrics of a submodule's outputs while training goes on.

    A hook on the submodule hands over what it returns in training mode; the callback runs no network, and neither modes
    nor batch statistics change. The numbers of `CollapseReport`, of all ranks together, go to all loggers as
    ``collapse/auc`` and so on, at the step that they are of, whatever ``log_every_n_steps`` is; and to
    ``trainer.callback_metrics``. The window and the step of the next report are a part of checkpoints.

    Args:
        module: Name of a submodule of the LightningModule, as in `named_modules`; it returns features ``(B, d)``, or a
            tuple or dictionary whose first tensor they are.
        every: Steps of the optimizer between two reports, which are at its multiples: the first is after so many.
        window: Samples of each rank that count.
        accurate: See `CollapseMeter`.
        prefix: First part of the names in the log; several callbacks of one Trainer need one each.

    Raises:
        ModuleNotFoundError: If lightning is not installed.
        ValueError: If a number is out of range; later, if there is no such submodule, two callbacks have one prefix, or
            a checkpoint is of another window.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 step, got {every}")
    meter = CollapseMeter(window=window, accurate=accurate)
    callback: Callback = _callback_class()(module, meter, every, prefix)
    return callback


@cache
def _callback_class() -> Any:
    try:
        from lightning.pytorch import Callback, LightningModule, Trainer
    except ModuleNotFoundError as error:
        if error.name != "lightning":
            raise
        raise ModuleNotFoundError(
            "lightning is not installed; it comes with `pip install 'vl-ssl[lightning]'`", name="lightning"
        ) from error

    class CollapseCallback(Callback):
        def __init__(self, module: str, meter: CollapseMeter, every: int, prefix: str) -> None:
            self.module, self.meter, self.every, self.prefix = module, meter, every, prefix
            self._hook: Any = None
            self._reports: int | None = None  # that were due so far

        @property
        def state_key(self) -> str:
            return f"CollapseCallback[{self.module}, {self.prefix}]"

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found = dict(pl_module.named_modules())
            if self.module not in found:
                known = ", ".join(name for name in found if name)[:200]
                raise ValueError(
                    f"module must name a submodule of the LightningModule, got {self.module!r}; one of {known}"
                )
            callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # another part of it sets them
            for other in callbacks:
                if isinstance(other, CollapseCallback) and other is not self and other.prefix == self.prefix:
                    raise ValueError(
                        f"prefix must be another for each collapse_callback of a Trainer, got {self.prefix!r} for "
                        f"{self.module} and {other.module}; give one of them another"
                    )
            reports = trainer.global_step // self.every
            # More of them were due in an earlier run.
            if self._reports is None or self._reports > reports:
                self._reports = reports
            self._hook = found[self.module].register_forward_hook(self._take)

        def _take(self, layer: Any, _inputs: Any, output: Any) -> None:
            if layer.training:
                self.meter.update(first_tensor(output))

        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            reports = trainer.global_step // self.every
            if reports == self._reports:
                return
            self._reports = reports
            merged = self.meter.synchronized()
            if not merged.samples:
                return
            numbers = {f"{self.prefix}/{name}": float(n) for name, n in merged.compute().as_dict().items()}
            # Lightning itself would drop what falls between two multiples of `log_every_n_steps`.
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=trainer.global_step - 1)
            pl_module.log_dict(numbers, logger=False)

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._remove()

        def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
            self._remove()

        def _remove(self) -> None:
            if self._hook is not None:
                self._hook.remove()
                self._hook = None

        def state_dict(self) -> dict[str, Any]:
            return {"reports": self._reports, "meter": self.meter.state_dict()}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self._reports = state_dict["reports"]
            self.meter.load_state_dict(state_dict["meter"])

    return CollapseCallback
