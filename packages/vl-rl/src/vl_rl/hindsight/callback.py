"""The callback that gives a replay buffer its agent, and writes what relabeling does to the log."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from vl_rl.hindsight.replay_buffer import GeneralizedHindsightReplayBuffer

__all__ = ["HindsightCallback"]


class HindsightCallback(BaseCallback):
    """Attaches the agent to its :class:`GeneralizedHindsightReplayBuffer` and logs its statistics.

    Logged are ``hindsight/episodes`` (complete paths so far) and, as means over the last 100 paths,
    ``hindsight/return_own`` and ``hindsight/return_relabeled`` (discounted returns for a path's own task, and for its
    first new one) and ``hindsight/kept`` (share of new labels that are the path's own task).

    Example:
        >>> model.learn(15_000, callback=HindsightCallback())
    """

    def _on_training_start(self) -> None:
        buffer: Any = getattr(self.model, "replay_buffer", None)
        if not isinstance(buffer, GeneralizedHindsightReplayBuffer):
            raise TypeError(
                "HindsightCallback needs a model with replay_buffer_class=GeneralizedHindsightReplayBuffer, got "
                f"{type(buffer).__name__}"
            )
        self.buffer = buffer
        buffer.attach(self.model)

    def _on_step(self) -> bool:
        # The transitions of this step reach the buffer after it, so the numbers are one step old.
        if self.locals["dones"].any():
            for name, number in self.buffer.statistics().items():
                self.logger.record(f"hindsight/{name}", number)
        return True
