"""The meter as a callback of Lightning, which comes with the extra ``lightning`` and is imported when one is made."""

from __future__ import annotations

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
    nor batch statistics change. Logged are the numbers of `CollapseReport`, of all ranks together, as ``collapse/auc``
    and so on. The window is a part of checkpoints.

    Args:
        module: Name of a submodule of the LightningModule, as in `named_modules`; it returns features ``(B, d)``, or a
            tuple or dictionary whose first tensor they are.
        every: Steps of the optimizer between two reports.
        window: Samples of each rank that count.
        accurate: See `CollapseMeter`.
        prefix: First part of the names in the log.

    Raises:
        ModuleNotFoundError: If lightning is not installed.
        ValueError: If a number is out of range; later, if there is no such submodule.
    """
    try:
        from lightning.pytorch import Callback, LightningModule, Trainer
    except ModuleNotFoundError as error:
        if error.name != "lightning":
            raise
        raise ModuleNotFoundError(
            "lightning is not installed; it comes with `pip install 'vl-ssl[lightning]'`", name="lightning"
        ) from error
    if every < 1:
        raise ValueError(f"every must be at least 1 step, got {every}")
    meter = CollapseMeter(window=window, accurate=accurate)

    class _CollapseCallback(Callback):
        def __init__(self) -> None:
            self.meter = meter
            self._hook: Any = None
            self._last = 0

        @property
        def state_key(self) -> str:
            return f"CollapseCallback[{module}]"

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found = dict(pl_module.named_modules())
            if module not in found:
                known = ", ".join(name for name in found if name)[:200]
                raise ValueError(f"module must name a submodule of the LightningModule, got {module!r}; one of {known}")
            self._last = trainer.global_step
            self._hook = found[module].register_forward_hook(self._take)

        def _take(self, layer: Any, _inputs: Any, output: Any) -> None:
            if layer.training:
                self.meter.update(first_tensor(output))

        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            if trainer.global_step - self._last < every:
                return
            self._last = trainer.global_step
            merged = self.meter.synchronized()
            if merged.samples:
                numbers = merged.compute().as_dict()
                pl_module.log_dict({f"{prefix}/{name}": float(value) for name, value in numbers.items()})

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._remove()

        def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
            self._remove()

        def _remove(self) -> None:
            if self._hook is not None:
                self._hook.remove()
                self._hook = None

        def state_dict(self) -> dict[str, Any]:
            return dict(self.meter.state_dict())

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.meter.load_state_dict(state_dict)

    return _CollapseCallback()
