"""Runs of a study: the images of one cell through one method with one seed, resumable after every group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from vl_core.runs import Checkpoint, RunFolder

from vl_diffusion.studies.adaptation.cells import Cell
from vl_diffusion.studies.adaptation.runners import Outcome, Runner
from vl_diffusion.studies.record import StudyRecord


@dataclass(frozen=True)
class MethodRun:
    """One method on all images of one cell, with one seed."""

    cell: Cell
    method: str
    seed: int
    """Seed of the method's noise, and of the classifier's training."""

    @property
    def name(self) -> str:
        """A name for folders and records."""
        return f"{self.cell.corruption}-{self.cell.severity}-{self.method}-{self.seed}"


def run_method(
    run: MethodRun,
    runner: Runner,
    image: Callable[[int], Tensor],
    image_ids: Sequence[int],
    record: StudyRecord[Outcome],
    folder: Path,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Record outcomes of the images that are not on record yet.

    If the method learns from image to image, its state is saved after every full group of images. An interrupted run
    resumes from there, and so does one with more images; it ends as if it had never been interrupted.

    Args:
        run: The run.
        runner: The method, set up for the run's seed; what it learned before is discarded.
        image: The image with a number, 0 to B - 1.
        image_ids: Their B ids, all different.
        record: Receives the outcomes; open for writing.
        folder: Folder of the runs' states.
        advance: Called with the number of images that were finished.
    """
    done = record.of(run.name)
    if not runner.carries_over:
        todo = [i for i, image_id in enumerate(image_ids) if image_id not in done]
        for start in range(0, len(todo), runner.group_size):
            _run_group(run, runner, image, image_ids, todo[start : start + runner.group_size], record, advance)
        return
    if all(image_id in done for image_id in image_ids):
        return
    runner.load_state_dict({})
    with RunFolder(folder / run.name, {"run": run}) as kept:
        last = kept.load_checkpoint()
        first = 0
        if (
            last is not None
            and _is_of(last, image_ids)
            and all(image_id in done for image_id in image_ids[: last.step])
        ):
            runner.load_state_dict(unpack(last.state["runner"], last.tensors))
            first = last.step
        for start in range(first, len(image_ids), runner.group_size):
            group = list(range(start, min(start + runner.group_size, len(image_ids))))
            _run_group(run, runner, image, image_ids, group, record, advance)
            # With more images, a group that is not full would have been another one.
            if len(group) == runner.group_size:
                tensors: dict[str, Tensor] = {}
                state = {"runner": pack(runner.state_dict(), tensors), "image_ids": list(image_ids[: group[-1] + 1])}
                kept.save_checkpoint(group[-1] + 1, tensors, state)


def _is_of(last: Checkpoint, image_ids: Sequence[int]) -> bool:
    """True if a state was learned from the first of these images, in this order."""
    before: list[int] = last.state["image_ids"]
    return before == list(image_ids[: last.step])


def _run_group(
    run: MethodRun,
    runner: Runner,
    image: Callable[[int], Tensor],
    image_ids: Sequence[int],
    group: Sequence[int],
    record: StudyRecord[Outcome],
    advance: Callable[[int], object],
) -> None:
    ids = [image_ids[i] for i in group]
    new = sum(image_id not in record.of(run.name) for image_id in ids)
    record.append(ids, {run.name: runner([image(i) for i in group], ids)})
    advance(new)


def pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON stores it, with its tensors moved to `tensors`; keys may be numbers, tuples become lists."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, pack(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [pack(part, tensors) for part in value]}
    return {"plain": value}


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of :func:`pack`."""
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: unpack(part, tensors) for key, part in content}
    if kind == "list":
        return [unpack(part, tensors) for part in content]
    return content
