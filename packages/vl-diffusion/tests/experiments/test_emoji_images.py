"""The data of both emoji models."""

from __future__ import annotations

import emoji_images
import numpy as np
import pytest
import torch
from transformers import T5Tokenizer


@pytest.fixture(scope="module")
def training() -> emoji_images.Emoji:
    return emoji_images.open_style(*emoji_images.TRAINING_STYLES)


@pytest.fixture(scope="module")
def tokenizer(training: emoji_images.Emoji) -> T5Tokenizer:
    return emoji_images.build_tokenizer(training)


def test_the_held_out_style_is_not_trained_on_and_every_name_of_it_is(training: emoji_images.Emoji) -> None:
    assert emoji_images.HELD_OUT_STYLE not in emoji_images.TRAINING_STYLES
    assert training.images.shape == (3566, 3, 32, 32)
    parts = [emoji_images.held_out(settings) for settings in (True, False)]
    assert [len(labels) for _, labels in parts] == [153, 1441]
    assert not set(parts[0][1]) & set(parts[1][1])
    assert set(parts[0][1] + parts[1][1]) <= set(training.labels)
    assert all(images.shape[0] == len(labels) for images, labels in parts)
    assert float(parts[0][0].min()) == -1
    assert float(parts[0][0].max()) == 1


def test_a_twin_is_the_same_concept_in_the_other_style(training: emoji_images.Emoji) -> None:
    twin = training.twin
    assert [training.labels[place] for place in twin.tolist()] == training.labels
    other = twin != torch.arange(len(twin))
    assert int(other.sum()) == 2 * 1652
    assert torch.equal(twin[twin], torch.arange(len(twin)))


def test_images_whose_mirror_image_means_something_else_are_not_mirrored(training: emoji_images.Emoji) -> None:
    mirrors = dict(zip(training.labels, training.mirrors.tolist(), strict=True))
    assert mirrors["hot dog"]
    assert not mirrors["flag: United States"]
    assert not mirrors["left arrow curving right"]
    assert not mirrors["woman in motorized wheelchair: facing right"]


def test_names_are_whole_words_and_other_text_is_spelled_in_characters(
    training: emoji_images.Emoji, tokenizer: T5Tokenizer
) -> None:
    assert tokenizer.tokenize("red apple") == ["▁red", "▁apple"]
    assert tokenizer.tokenize("woman, man") == ["▁woman", ",", "▁man"]
    assert tokenizer.tokenize("zyx 7!")[1:4] == ["z", "y", "x"]
    tokens, mask = emoji_images.tokenize(tokenizer, [*training.labels, "Zyx: 7?", "red  apple", "RED APPLE"])
    assert tokens.shape[1] <= emoji_images.PROMPT_LENGTH
    assert not (tokens == tokenizer.unk_token_id).any()
    assert torch.equal(mask, (tokens != tokenizer.pad_token_id).long())
    assert torch.equal(tokens[-1], tokens[-2])


def test_names_of_a_style_are_told_apart_by_their_tokens(training: emoji_images.Emoji, tokenizer: T5Tokenizer) -> None:
    labels = sorted(set(training.labels))
    tokens, _ = emoji_images.tokenize(tokenizer, labels)
    assert len(tokens.unique(dim=0)) == len(labels)


def test_augmentation_keeps_the_background_white(training: emoji_images.Emoji) -> None:
    index = torch.arange(0, 3566, 60)
    plain = emoji_images.augment(training, index, torch.Generator(), strength=0)
    torch.testing.assert_close(plain, training.images[index].float() / 127.5 - 1)
    shown, again = (emoji_images.augment(training, index, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(shown, again, rtol=0, atol=0)
    assert shown.shape == plain.shape
    assert float(shown.min()) >= -1
    assert float(shown.max()) <= 1
    changed = (shown - plain).abs().mean((1, 2, 3))
    assert float(changed.min()) > 0
    assert 0.05 < float(changed.mean()) < 0.5
    white = training.__class__(**{**vars(training), "images": torch.full_like(training.images, 255)})
    assert bool((emoji_images.augment(white, index, torch.Generator().manual_seed(0)) == 1).all())


def test_captions_are_names_and_sometimes_tags(training: emoji_images.Emoji) -> None:
    generator = np.random.default_rng(0)
    place = training.labels.index("hot dog")
    assert {emoji_images.caption(training, place, 0.0, generator) for _ in range(20)} == {"hot dog"}
    drawn = [emoji_images.caption(training, place, 0.5, generator) for _ in range(200)]
    assert 60 < drawn.count("hot dog") < 140
    allowed = {word for tag in training.tags[place] for word in emoji_images.words(tag)} | {"hot", "dog"}
    assert {word for text in drawn for word in emoji_images.words(text)} <= allowed


def test_candidates_are_distinct_and_the_true_name_is_at_a_random_position() -> None:
    pool = [f"name {number}" for number in range(50)]
    labels = pool * 20
    sets = emoji_images.candidates(labels, pool, 20, seed=0)
    assert all(len(set(row)) == 20 and label in row for label, row in zip(labels, sets, strict=True))
    places = np.bincount([row.index(label) for label, row in zip(labels, sets, strict=True)], minlength=20)
    assert places.min() > 25
    assert sets == emoji_images.candidates(labels, pool, 20, seed=0)
    assert sets != emoji_images.candidates(labels, pool, 20, seed=1)
