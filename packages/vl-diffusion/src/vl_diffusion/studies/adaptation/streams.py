"""Sending images through a method, group by group, with everything on disk that is needed to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from vl_core.runs import Checkpoint, RunFolder

from vl_diffusion.studies.adaptation.record import Stream, StudyRecord
from vl_diffusion.studies.adaptation.workers import Worker


def run_stream(
    stream: Stream,
    worker: Worker,
    image: Callable[[int], Tensor],
    image_ids: Sequence[int],
    record: StudyRecord,
    folder: Path,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Answer for the images that are not on record yet.

    Where a method learns from image to image, its state is kept after every full group of images. An interrupted
    stream goes on from there, and so does one that gets more images: it ends as if it had never stopped.

    Args:
        stream: Which one.
        worker: The method, set up for the stream's seed; what it learned before is forgotten.
        image: The image with a number, 0 to B - 1.
        image_ids: Their B ids, all different.
        record: Where outcomes go; open for writing.
        folder: Where the states of streams are kept.
        advance: Called with the number of images that were finished.
    """
    done = record.of(stream)
    if not worker.goes_on:
        todo = [i for i, image_id in enumerate(image_ids) if image_id not in done]
        for start in range(0, len(todo), worker.together):
            _answer(stream, worker, image, image_ids, todo[start : start + worker.together], record, advance)
        return
    if all(image_id in done for image_id in image_ids):
        return
    worker.load_state_dict({})
    with RunFolder(folder / stream.name, {"stream": stream}) as kept:
        last = kept.load_checkpoint()
        first = 0
        if (
            last is not None
            and _is_of(last, image_ids)
            and all(image_id in done for image_id in image_ids[: last.step])
        ):
            worker.load_state_dict(unpacked(last.state["worker"], last.tensors))
            first = last.step
        for start in range(first, len(image_ids), worker.together):
            group = list(range(start, min(start + worker.together, len(image_ids))))
            _answer(stream, worker, image, image_ids, group, record, advance)
            # After a group that is not full, a longer stream would have gone on otherwise.
            if len(group) == worker.together:
                tensors: dict[str, Tensor] = {}
                state = {"worker": packed(worker.state_dict(), tensors), "image_ids": list(image_ids[: group[-1] + 1])}
                kept.save_checkpoint(group[-1] + 1, tensors, state)


def _is_of(last: Checkpoint, image_ids: Sequence[int]) -> bool:
    """Whether a state was learned from the first of these images, in this order."""
    before: list[int] = last.state["image_ids"]
    return before == list(image_ids[: last.step])


def _answer(
    stream: Stream,
    worker: Worker,
    image: Callable[[int], Tensor],
    image_ids: Sequence[int],
    group: Sequence[int],
    record: StudyRecord,
    advance: Callable[[int], object],
) -> None:
    ids = [image_ids[i] for i in group]
    new = sum(image_id not in record.of(stream) for image_id in ids)
    record.append(stream, ids, worker([image(i) for i in group], ids))
    advance(new)


def packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON keeps it, whose tensors are put into `tensors`; keys may be numbers, tuples become lists."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, packed(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [packed(part, tensors) for part in value]}
    return {"plain": value}


def unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What was packed."""
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: unpacked(part, tensors) for key, part in content}
    if kind == "list":
        return [unpacked(part, tensors) for part in content]
    return content
