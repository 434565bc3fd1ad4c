"""The sets inside the wheel: how many, how balanced, what is known of them, and their notices."""

from collections import Counter

import numpy as np
import pytest
from vl_core.data import BUILTIN_NAMES, open_dataset
from vl_core.data._builtin import BUILTIN, EMOJI_STYLES


@pytest.mark.parametrize(("split", "per_class"), [("train", 1000), ("test", 200)])
def test_fashion_is_balanced_whatever_part_is_taken(split, per_class):
    dataset = open_dataset("fashion", split=split)
    assert len(dataset) == 10 * per_class
    assert len(dataset.classes) == 10
    assert np.array_equal(dataset.labels.reshape(-1, 10), np.tile(np.arange(10), (per_class, 1)))
    assert dataset.split == split
    assert dataset.captions is None


def test_fashion_images_are_gray_and_look_like_the_original():
    dataset = open_dataset("fashion", split="train")
    image, label = dataset[0]
    assert (image.mode, image.size, label) == ("L", (28, 28), 0)
    pixels = np.stack([np.asarray(dataset[index][0]) for index in range(0, 10_000, 3)]) / 255
    # Mean and standard deviation of the original's 60,000, as its users know them: 0.2860 and 0.3530.
    assert abs(pixels.mean() - 0.2860) < 0.01
    assert abs(pixels.std() - 0.3530) < 0.01


def test_fashion_names_every_image_and_where_it_comes_from():
    dataset = open_dataset("fashion")
    assert len(dataset) == 12_000
    assert dataset.names[17] == "fashion/train/00017"
    assert dataset.names[10_017] == "fashion/test/00017"
    assert len(set(dataset.names)) == len(dataset)
    for split, size in (("train", 60_000), ("test", 10_000)):
        source = [entry["source_index"] for entry in dataset.metadata if entry["split"] == split]
        assert len(set(source)) == len(source)
        assert 0 <= min(source) <= max(source) < size


def test_without_a_split_the_parts_follow_one_another():
    whole, test = open_dataset("fashion"), open_dataset("fashion", split="test")
    for index in (0, 1999):
        assert whole[10_000 + index][0].tobytes() == test[index][0].tobytes()


def test_fashion_equals_the_original_where_that_is_at_hand():
    try:
        original = open_dataset("fashion-mnist")
    except FileNotFoundError as error:
        pytest.skip(f"needs the full Fashion-MNIST, which does not ship: {error}")
    part = open_dataset("fashion")
    for index in range(0, len(part), 97):
        entry = part.metadata[index]
        position = entry["source_index"] + (0 if entry["split"] == "train" else 60_000)
        assert part[index][0].tobytes() == original[position][0].tobytes()
        assert part.labels[index] == original.labels[position]


@pytest.fixture(scope="module")
def emoji():
    return open_dataset("emoji")


def test_emoji_holds_three_styles(emoji):
    assert Counter(entry["style"] for entry in emoji.metadata) == {"noto": 1652, "twemoji": 1914, "fluent": 1594}
    assert len(set(emoji.names)) == len(emoji) == 5160


def test_emoji_concepts_stay_in_one_split_in_every_style(emoji):
    seen = {split: set() for split in ("train", "val", "test")}
    for entry in emoji.metadata:
        seen[entry["split"]].add(entry["hexcode"])
    assert {split: len(concepts) for split, concepts in seen.items()} == {"train": 1560, "val": 178, "test": 176}
    assert len(set.union(*seen.values())) == 1914


def test_one_style_and_one_split_can_be_asked_for(emoji):
    dataset = open_dataset("emoji:fluent", split="val")
    wanted = [index for index, e in enumerate(emoji.metadata) if (e["style"], e["split"]) == ("fluent", "val")]
    assert dataset.names == emoji.subset(wanted).names
    assert dataset.metadata == emoji.subset(wanted).metadata
    assert dataset[7][0].tobytes() == emoji[wanted[7]][0].tobytes()


def test_emoji_says_what_each_image_shows():
    dataset = open_dataset("emoji", split="test")
    image, _ = dataset[0]
    assert (image.mode, image.size) == ("RGB", (32, 32))
    for index, entry in enumerate(dataset.metadata):
        assert dataset.classes[dataset.labels[index]] == entry["group"]
        assert dataset.captions[index] == entry["label"]
        assert dataset.names[index] == f"emoji/{entry['style']}/{entry['hexcode']}"
    index = dataset.names.index("emoji/noto/1F603")
    assert dataset.captions[index] == "grinning face with big eyes"
    assert dataset.classes[dataset.labels[index]] == "smileys & emotion"
    assert "happy" in dataset.metadata[index]["tags"]


def test_emoji_images_belong_to_their_names(emoji):
    """Yellow for a banana, red for an apple, in every style: an order mixed up in the files would not survive this."""
    for hexcode, channels in (("1F34C", (0, 1)), ("1F34E", (0,)), ("1F535", (2,))):
        for style in EMOJI_STYLES:
            pixels = np.asarray(emoji[emoji.names.index(f"emoji/{style}/{hexcode}")][0]).astype(int)
            drawn = pixels[pixels.min(axis=2) < 200].mean(axis=0)
            others = [channel for channel in range(3) if channel not in channels]
            assert drawn[list(channels)].min() > drawn[others].max() + 30, (hexcode, style, drawn)


def test_the_card_of_emoji_counts_what_is_there(emoji):
    card = (BUILTIN / "emoji/README.md").read_text(encoding="utf-8")
    for split in ("train", "val", "test"):
        entries = [entry for entry in emoji.metadata if entry["split"] == split]
        concepts = len({entry["hexcode"] for entry in entries})
        styles = Counter(entry["style"] for entry in entries)
        row = " | ".join(f"{n:,}" for n in (concepts, *(styles[style] for style in EMOJI_STYLES)))
        assert f"| `{split}` | {row} |" in card


@pytest.mark.parametrize(
    ("path", "phrases"),
    [
        ("fashion/LICENSE-fashion-mnist.txt", ["MIT License", "2017 Zalando SE", "The above copyright notice"]),
        ("emoji/LICENSE-noto.txt", ["Apache License", "Version 2.0"]),
        ("emoji/NOTICE-twemoji.txt", ["Twitter", "creativecommons.org/licenses/by/4.0/", "Changes:"]),
        ("emoji/LICENSE-fluent.txt", ["MIT License", "Microsoft Corporation", "The above copyright notice"]),
        ("emoji/LICENSE-emojibase-data.txt", ["MIT License", "Miles Johnson", "The above copyright notice"]),
    ],
)
def test_each_notice_lies_beside_the_data_and_the_card_points_to_it(path, phrases):
    notice = (BUILTIN / path).read_text(encoding="utf-8")
    for phrase in phrases:
        assert phrase in notice
    assert (BUILTIN / path).name in (BUILTIN / path).with_name("README.md").read_text(encoding="utf-8")


def test_the_share_alike_style_is_not_in_the_wheel():
    assert not [path for path in BUILTIN.rglob("*") if "openmoji" in path.name.lower()]


def test_everything_built_in_takes_less_than_ten_megabytes():
    assert sum(path.stat().st_size for path in BUILTIN.rglob("*") if path.is_file()) <= 9_000_000


@pytest.mark.parametrize("name", [name for name in BUILTIN_NAMES if name != "fashion-mnist"])
def test_an_unknown_split_is_answered_with_those_there_are(name):
    with pytest.raises(ValueError, match=rf"split must be one of 'train', .*'test' for {name}, .* got 'extra'"):
        open_dataset(name, split="extra")


def test_validation_is_another_word_for_val():
    assert open_dataset("emoji", split="validation").names == open_dataset("emoji", split="val").names
