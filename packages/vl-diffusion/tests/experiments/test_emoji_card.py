"""The evaluation and the table of the emoji card, with classifiers that need no training."""

from __future__ import annotations

import emoji_card
import emoji_images
import torch
from vl_core.results import wilson_interval


def test_a_row_counts_correct_answers_among_the_candidates_of_its_seed() -> None:
    images, labels = emoji_card.tested_images(40)

    def right_in_the_first_half(shown, choices):
        assert torch.equal(shown, images)
        assert all(label in row and len(set(row)) == 20 for label, row in zip(labels, choices, strict=True))
        wrong = [next(name for name in row if name != label) for row, label in zip(choices, labels, strict=True)]
        return labels[:20] + wrong[20:]

    row = emoji_card.measure("half right", right_in_the_first_half, images=40, candidate_seed=1, parameters=7, draws=3)
    low, high = (f"{100 * end:.2f}" for end in wilson_interval(20, 40))
    assert (row["correct"], row["accuracy"], row["low"], row["high"]) == (20, "50.00", low, high)
    assert (row["candidate_seed"], row["draws"], row["evaluations_per_image"]) == (1, 3, 60)
    assert {"hardware", "torch", "command", "commit"} <= set(row)


def test_validation_and_test_images_are_disjoint() -> None:
    _, tested = emoji_card.tested_images(600)
    _, choosing = emoji_images.held_out(settings=True)
    assert len(tested) == 600
    assert not set(tested) & set(choosing)


def test_the_nearest_training_image_of_a_training_image_is_itself() -> None:
    emoji = emoji_images.open_style("twemoji")
    places = [emoji.labels.index(name) for name in ("hot dog", "palm tree", "robot")]
    choices = [["palm tree", "hot dog"], ["palm tree", "robot"], ["hot dog", "robot"]]
    named = emoji_card.nearest_training_image(emoji.images[places].float() / 127.5 - 1, choices)
    assert named == ["hot dog", "palm tree", "robot"]


def test_the_table_has_a_line_for_every_row() -> None:
    row = {"model": "PixArt: name of least denoising error", "candidate_seed": "2", "images": "600"}
    row |= {"accuracy": "61.00", "low": "57.04", "high": "64.82"}
    lines = emoji_card.card_table([row]).splitlines()
    assert lines[2:] == ["| PixArt: name of least denoising error | 2 | 600 | 61.00 % | 57.04 to 64.82 % |"]
