"""`vl-vlm train`: a dual encoder of one's own images and captions."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from vl_core.cli import note_on_interruption

from vl_vlm.captions.captioned import CaptionedImages
from vl_vlm.captions.images import DatasetImages
from vl_vlm.captions.open import open_captions
from vl_vlm.charts.retrievals import draw_retrievals
from vl_vlm.commands._evaluation import evaluate_groups, result_table, write_results
from vl_vlm.commands.settings.train import SCENES, Train
from vl_vlm.evaluation.tasks.retrieval import RetrievalTask
from vl_vlm.evaluation.tasks.scenes import scene_tasks
from vl_vlm.evaluation.tasks.task import Task
from vl_vlm.models.dual_encoder import DualEncoder
from vl_vlm.models.small import small_dual_encoder
from vl_vlm.scenes.dataset import make_scenes
from vl_vlm.training.contrastive import train_dual_encoder
from vl_vlm.training.settings import ContrastiveSettings, clip_recipe, lit_recipe, siglip_recipe, small_recipe

_RECIPES: dict[str, Callable[[], ContrastiveSettings]] = {
    "small": small_recipe,
    "clip": clip_recipe,
    "siglip": siglip_recipe,
    "lit": lit_recipe,
}
_SCENES = 8000
_TESTED = 100  # scenes or pairs a task
_QUERIES = 200  # images among which the figure searches


def run(settings: Train) -> None:
    """Train what `settings.out` does not contain yet, and write the model, its evaluation and the figure.

    Raises:
        ValueError: If the captions cannot be used, or the folder holds a run of other settings.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    torch.manual_seed(settings.seed)
    given = None if settings.model is None else DualEncoder.from_pretrained(settings.model)
    size = settings.image_size if given is None else given.image_size
    train, test = _scenes(settings, size) if settings.captions == SCENES else _captions(settings)
    model = _new_model(settings, train) if given is None else given
    with note_on_interruption("rerun to resume from the last checkpoint"):
        train_dual_encoder(
            model,
            train,
            contrastive_settings(settings),
            settings.out,
            config={"source": settings.captions, "begins_with": settings.model, "weights_seed": settings.seed},
        )
    model.eval().save_pretrained(settings.out / "model")
    tasks: dict[str, dict[str, Task]] = {}
    if settings.captions == SCENES:
        for split in ("test", "held_out"):
            tasks[split] = scene_tasks(_TESTED, size=max(size, 16), seed=settings.seed, split=split)
    elif _has_choice(test):
        tasks["captions"] = {"retrieval": RetrievalTask(DatasetImages(test), test.captions, ids=test.names)}
    print(f"{len(train)} images with {sum(map(len, train.captions))} captions, {len(test)} others kept from training")
    written = "model/"
    if tasks:
        results = evaluate_groups(model, tasks, settings.out / "evaluation", batch_size=64)
        print(result_table(results))
        write_results(results, settings.out / "results.csv")
        shown = test.subset(range(min(_QUERIES, len(test))))
        updates = contrastive_settings(settings).updates
        title = f"images found by caption among {len(shown)}, after {updates:,} updates; its own in green"
        draw_retrievals(settings.out / "retrieval.png", model, shown, title=title)
        print("blind: sees texts alone; constant: sees nothing; ties count as chance; intervals of 95 %")
        written = "model/, results.csv and retrieval.png"
    else:
        print("too few images were kept from training for an evaluation", file=sys.stderr)
    print(f"wrote {written} to {settings.out}")


def contrastive_settings(settings: Train) -> ContrastiveSettings:
    """The recipe with what was asked for instead."""
    names = ("updates", "batch_size", "learning_rate")
    recipe = _RECIPES[settings.recipe]()
    chosen = replace(
        recipe,
        warmup=0,
        sub_batch=settings.sub_batch,
        flip=settings.flip,
        precision=settings.precision,
        workers=settings.workers,
        seed=settings.seed,
        **{name: value for name in names if (value := getattr(settings, name)) is not None},
    )
    warmup = min(recipe.warmup, chosen.updates // 10) if settings.warmup is None else settings.warmup
    return replace(chosen, warmup=warmup)


def _new_model(settings: Train, train: CaptionedImages) -> DualEncoder:
    return small_dual_encoder(
        [caption for captions in train.captions for caption in captions],
        image_size=settings.image_size,
        width=settings.width,
        depth=settings.depth,
        text_depth=max(1, settings.depth // 2),
        dim=settings.dim,
        context_length=settings.context_length,
        vocabulary_size=settings.vocabulary_size,
        loss=settings.loss,
    )


def _scenes(settings: Train, size: int) -> tuple[CaptionedImages, CaptionedImages]:
    """Scenes to train on, and others."""
    count = _SCENES if settings.limit is None else settings.limit
    train = make_scenes(count, size=max(size, 16), seed=settings.seed)
    # Drawing takes longer than a crop, and small scenes fit into memory.
    train = train.in_memory(progress=True) if count * size**2 <= 2**28 else train
    return train, make_scenes(_QUERIES, size=max(size, 16), seed=settings.seed, split="test")


def _captions(settings: Train) -> tuple[CaptionedImages, CaptionedImages]:
    """Images to train on, and those that are kept from it: which they are depends on their names alone."""
    dataset = open_captions(
        settings.captions,
        split=settings.split,
        default_split="train",
        limit=settings.limit,
        exclude=settings.out,
        skip_broken=settings.skip_broken,
    )
    for name, reason in dataset.skipped[:5]:
        print(f"left out {name}: {reason}", file=sys.stderr)
    if len(dataset.skipped) > 5:
        print(f"left out {len(dataset.skipped)} in all", file=sys.stderr)
    kept = [_share(name) < settings.test_share for name in dataset.names]
    test = dataset.subset(index for index, own in enumerate(kept) if own)
    return dataset.subset(index for index, own in enumerate(kept) if not own), test


def _share(name: str) -> float:
    """A number in 0..1 for a name, even over many."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def _has_choice(test: CaptionedImages) -> bool:
    """True if there are at least two images and two captions to choose from."""
    return len(test) > 1 and len({caption for captions in test.captions for caption in captions}) > 1
