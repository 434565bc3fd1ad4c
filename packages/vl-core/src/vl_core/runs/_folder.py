"""The folder of one run: configuration, metrics and the last checkpoint."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vl_core._atomic import atomic_write, is_leftover
from vl_core.files import read_json
from vl_core.runs import _checkpoint
from vl_core.runs._checkpoint import Checkpoint
from vl_core.runs._metrics import MetricsFile, Row, check_step, number
from vl_core.runs._plain import differences, plain

# On Windows two processes in one folder are not kept apart.
if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter


# Opening a folder, as other processes of one training do, takes the lock for a moment.
_PATIENCE = 1.0  # seconds


class RunFolder:
    """Configuration, metrics and checkpoint of one run on disk; the same command resumes it.

    ::

        config.json                   the run's configuration, which never changes
        metrics.jsonl                 one object a line: {"step": 3, "loss": 0.25}
        tensorboard/                  the same numbers as events, where tensorboard is installed
        checkpoint/last.safetensors   tensors, with step and state in the header

    A resumed run ends with the same files as an uninterrupted one (events apart, which carry times), if the caller
    restores all its state. One process writes to a folder at a time; a `with` block holds a lock that keeps others out,
    where the system and the disk know locks.

    Args:
        path: Folder of the run; made where it is missing.
        config: Dataclass instance or mapping of what JSON can keep; paths become strings, tuples lists.
        resume: Whether the folder may hold a run with the same configuration already.

    Raises:
        TypeError: If ``config`` is not a dataclass or mapping, or holds what JSON cannot keep.
        ValueError: If the folder's run has another configuration; the message names the fields.
        FileExistsError: If the folder holds a run and ``resume`` is false, or other files and no run.
        NotADirectoryError: If ``path`` is a file.

    Example:
        >>> with RunFolder("runs/first", {"steps": 100}) as run:
        ...     last = run.load_checkpoint()
        ...     for step in range(last.step if last else 0, 100):
        ...         run.log(step, loss=1 / (step + 1))
        ...     run.save_checkpoint(100, {"weight": torch.zeros(3)}, {"best": 0.01})
    """

    def __init__(self, path: str | os.PathLike[str], config: Any, *, resume: bool = True) -> None:
        self.path = Path(path)
        self.config: dict[str, Any] = _plain_config(config)
        self._prepare(resume)
        self._metrics = MetricsFile(self.path / "metrics.jsonl")
        self._events: SummaryWriter | None = None
        self._resumed_step: int | None = None
        self._logged = False
        self._lock: int | None = None

    def log(self, step: int, /, **metrics: Any) -> None:
        """Append one row of metrics for ``step``.

        The first row since opening decides where the run goes on: earlier rows at or after its step, or at or after the
        step of a checkpoint that was loaded, are removed, so that a resumed run repeats none.

        Args:
            step: The step the numbers belong to, from 0.
            metrics: Numbers, or tensors and arrays of one element. NaN and infinity are kept (as JSON's usual
                extension ``NaN``, ``Infinity``).

        Raises:
            TypeError: If ``step`` is not an integer or a metric is not one number.
            ValueError: If ``step`` is negative or a metric is called ``step``.
        """
        step = check_step(step)
        if "step" in metrics:
            raise ValueError("metrics must not hold the name step, which is the row's own; call it something else")
        row: Row = {"step": step, **{name: number(name, value) for name, value in metrics.items()}}
        if not self._logged:
            first = step if self._resumed_step is None else min(step, self._resumed_step)
            self._metrics.rewind(first)
            self._events = _event_writer(self.path / "tensorboard", first)
            self._logged = True
        self._metrics.append(row)
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, step)

    def metrics(self) -> list[Row]:
        """All rows so far, oldest first, each with its ``step``; an incomplete last line is ignored."""
        return self._metrics.rows()

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically; an interruption leaves the previous one intact.

        Args:
            step: The first step that is still to be done: after steps 0 to 9, this is 10.
            tensors: Tensors by name, of any device and layout in memory.
            state: The rest, as JSON can keep it: counters, schedules, names.

        Raises:
            TypeError: If ``step`` is not an integer, a value is not a tensor, or the state is not for JSON.
            ValueError: If ``step`` is negative.
        """
        step = check_step(step)
        # Rows before the checkpoint are never written again, so they must reach the disk before it does.
        self._metrics.sync()
        if self._events is not None:
            self._events.flush()
        _checkpoint.save(self._checkpoint_path, step, tensors, state)

    def load_checkpoint(self) -> Checkpoint | None:
        """Load the last checkpoint, None if there is none; later metrics continue after its step.

        Raises:
            ValueError: If the file is not a checkpoint of a run.
        """
        checkpoint = _checkpoint.load(self._checkpoint_path)
        self._resumed_step = checkpoint.step if checkpoint else 0
        self._logged = False
        self._close_events()
        return checkpoint

    def close(self) -> None:
        """Finish the event file, and let other processes in. Metrics and checkpoints need no closing."""
        self._close_events()
        if self._lock is not None:
            _unlock(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        """Keep the folder for this process alone.

        Raises:
            BlockingIOError: If another process has it.
        """
        if self._lock is None:
            self._lock = _lock(self.path, patience=_PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _checkpoint_path(self) -> Path:
        return self.path / "checkpoint" / "last.safetensors"

    def _close_events(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _prepare(self, resume: bool) -> None:
        """Create the run folder, or check that it belongs to a run with this configuration."""
        check_run_folder(self.path)
        config_path = self.path / "config.json"
        if config_path.exists():
            if not resume:
                raise FileExistsError(f"{self.path} holds a run already; resume it or choose another folder")
            self._compare(config_path)
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_write(config_path) as file:
                json.dump(self.config, file, indent=2)
                file.write("\n")
        self._sweep()

    def _sweep(self) -> None:
        """Remove leftovers of killed writes, unless another process is writing here."""
        try:
            lock = _lock(self.path)
        except BlockingIOError:
            return
        for folder in (self.path, self.path / "checkpoint"):
            for leftover in filter(is_leftover, folder.iterdir() if folder.is_dir() else ()):
                leftover.unlink()
        if lock is not None:
            _unlock(lock)

    def _compare(self, config_path: Path) -> None:
        old = read_json(config_path, dict)
        changed = differences(old, self.config)
        if changed:
            raise ValueError(
                f"{self.path} holds a run with another configuration: {'; '.join(changed)}; "
                "go back to the folder's values or choose another folder"
            )


def read_metrics(path: str | os.PathLike[str]) -> list[Row]:
    """Rows of metrics in the folder of a run, also of one that another process is writing.

    Args:
        path: The folder.

    Returns:
        The rows, oldest first, each with its ``step``; an incomplete last line is ignored.

    Raises:
        ValueError: If another line is damaged; the message names file and line.
    """
    return MetricsFile(Path(path) / "metrics.jsonl").rows()


def check_run_folder(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Check that a folder holds a run, or nothing, or is not there yet; its configuration is not compared.

    Args:
        path: The folder.
        argument: Name of the argument in errors.

    Raises:
        FileExistsError: If it holds other files.
        NotADirectoryError: If it is a file.
    """
    folder = Path(path)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{argument} must be a folder for the run, got the file {folder}")
    if (folder / "config.json").exists():
        return
    if foreign := sorted(entry.name for entry in folder.iterdir() if not is_leftover(entry)):
        some = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise FileExistsError(
            f"{argument}: {folder} holds files but no config.json, so it is no run ({some}); choose an empty folder"
        )


def _lock(folder: Path, patience: float = 0.0) -> int | None:
    """Lock a run's folder; the open file that holds the lock, which ends with the process however that ends.

    Raises:
        BlockingIOError: If another process has it.
    """
    if sys.platform == "win32":
        return None
    try:
        # The configuration is the one file that is never replaced.
        descriptor = os.open(folder / "config.json", os.O_RDWR)
    except PermissionError:
        return None
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _locks.add(descriptor)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.05)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(
            f"{folder} is being written by another process; wait for it or choose another --out"
        ) from None
    except OSError:
        # Some network file systems know no locks.
        os.close(descriptor)
        return None


def _unlock(descriptor: int) -> None:
    if descriptor in _locks:
        _locks.remove(descriptor)
        os.close(descriptor)


def _forget_locks() -> None:
    """Leave the locks to the parent: a worker that outlives it for a moment must not hold them."""
    while _locks:
        os.close(_locks.pop())


_locks: set[int] = set()
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_locks)


def _plain_config(config: Any) -> dict[str, Any]:
    result = plain(config, "config")
    if not isinstance(result, dict):
        raise TypeError(f"config must be a dataclass instance or a mapping, got {type(config).__name__}")
    return result


def _event_writer(folder: Path, first_step: int) -> SummaryWriter | None:
    """Event writer whose events replace earlier ones from ``first_step`` on; None if tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(log_dir=folder, purge_step=first_step)
