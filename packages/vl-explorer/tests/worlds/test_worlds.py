import asyncio

import numpy as np
import pytest
from vl_core.data import ImageDataset
from vl_explorer.search.ranking.words import words
from vl_explorer.worlds.joining import LEAST, TARGET, hold_out
from vl_explorer.worlds.opening import WORLDS, open_world
from vl_explorer.worlds.relevance import BUILTIN_RULES, FULL_RULES, Rule
from vl_explorer.worlds.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return open_world()


def pixels(dataset: ImageDataset) -> set[bytes]:
    return {dataset[index][0].convert("RGB").resize((16, 16)).tobytes() for index in range(len(dataset))}


def test_no_image_of_the_task_is_in_the_web(world):
    there = pixels(world.web)
    for own in (world.target, world.held_out.train, world.held_out.test):
        assert not there & pixels(own)
        assert not set(world.web.names) & set(own.names)


def test_target_is_the_train_side_without_labels(world):
    assert set(world.target.names) <= set(world.held_out.train.names)
    assert not set(world.held_out.train.names) & set(world.held_out.test.names)
    assert world.target.labels.max() == -1
    assert world.held_out.train.classes == world.held_out.test.classes
    assert np.bincount(world.held_out.test.labels).min() >= LEAST // 2


def test_relevant_addresses_are_those_of_the_rule(world):
    rule = BUILTIN_RULES[world.task]
    entries = [entry for entry in world.web.metadata if "group" in entry]
    assert len(world.relevant) == sum(rule.of_emoji(entry) for entry in entries) > 200
    for url in sorted(world.relevant)[:5]:
        assert world.web.metadata[int(url.rsplit("/", 1)[1])]["group"] == "food & drink"
        assert world.engine.image(url).size == (32, 32)


def test_every_image_of_the_web_has_author_and_license(world):
    for query, credit in {"shirt": ("Zalando SE", "MIT"), "pizza": ("googlefonts/noto-emoji", "Apache-2.0")}.items():
        results = asyncio.run(world.engine.search(query, 3)).results
        assert credit in {(result.author, result.license) for result in results}
    assert {entry["license"] for entry in world.web.metadata} == {"Apache-2.0", "CC BY 4.0", "MIT"}


def test_every_concept_brings_an_image(world):
    assert len(world.web) > 10_000
    assert "cat" in {concept.name for concept in world.vocabulary}
    for place in range(0, len(world.vocabulary), 97):
        name = world.vocabulary[place].name
        found = asyncio.run(world.engine.search(name, 3)).results
        assert found
        assert words(name)[0] in words(found[0].title)


def test_every_word_is_a_larger_vocabulary(world):
    larger = {concept.name for concept in open_world(every_word=True).vocabulary}
    assert larger > {concept.name for concept in world.vocabulary}


def test_garments_are_held_out_by_the_split_of_their_set():
    world = open_world(target="footwear")
    assert len(world.relevant) == 3000
    assert world.held_out.test.classes == ("sandal", "sneaker", "ankle boot")
    assert len(world.target) == TARGET
    assert {world.web.metadata[int(url.rsplit("/", 1)[1])]["split"] for url in world.relevant} == {"train"}
    assert "3,000" in world.describe()


def test_held_out_classes_take_turns():
    images = np.zeros((11, 2, 2), np.uint8)

    class Source:
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int):
            return images[index]

    labels = [0] * 5 + [1] * 4 + [2] * 2
    dataset = ImageDataset(Source(), labels, name="toy", names=[str(i) for i in range(11)], classes=["a", "b", "c"])
    target, held_out = hold_out(dataset)
    assert held_out.train.names == ("0", "2", "4", "5", "7")
    assert held_out.test.names == ("1", "3", "6", "8")
    assert target.names == ("0", "5", "2", "7", "4")
    with pytest.raises(ValueError, match="two classes"):
        hold_out(dataset.subset(range(5)))


def test_rules_count_folders_less_their_exceptions():
    rule = FULL_RULES["vehicles"]
    assert rule.of_clip_art("transportation/boating/sailing_tack.svg")
    assert not rule.of_clip_art("transportation/boating/knot_bowline.svg")
    assert not Rule().of_clip_art("transportation/bus_01.svg")
    assert rule.of_emoji({"group": "travel & places", "subgroup": "ground transportation"})
    assert not rule.of_emoji({"group": "travel & places", "subgroup": "buildings"})


@pytest.mark.parametrize("task", ["vehicles"])
def test_web_of_the_study_lacks_the_images_of_its_task(task):
    try:
        world = open_world("full", target=task)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert 15_000 <= len(world.web) <= 21_000
    assert len(world.relevant) >= 0.03 * len(world.web)
    held = (world.target, world.held_out.train, world.held_out.test)
    assert not set(world.web.names) & {name for part in held for name in part.names}
    assert world.target[0][0].size == world.engine.image(min(world.relevant)).size == (64, 64)
    assert world.engine.name == f"full-{task}"
    assert all(entry["license"] for entry in world.web.metadata)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "web"}, "name must be 'builtin' or 'full', got 'web'"),
        ({"target": "vehicles"}, "target must be one of food, animals, travel, footwear in 'builtin', got 'vehicles'"),
    ],
)
def test_unknown_worlds_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        open_world(**arguments)


@pytest.mark.parametrize(("root", "message"), [("", "VL_DATA is not set"), ("{tmp}", "VL_DATA must hold caltech101")])
def test_missing_data_says_what_to_do(tmp_path, monkeypatch, root, message):
    monkeypatch.setenv("VL_DATA", root.format(tmp=tmp_path))
    with pytest.raises(FileNotFoundError, match=message):
        open_world("full")
    assert set(WORLDS) == {"builtin", "full"}
