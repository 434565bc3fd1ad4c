"""Label trees, WordNet's nouns, and shortlists: searches around a search."""

from __future__ import annotations

import re

import numpy as np
import pytest
from vl_diffusion import Exhaustive, LabelTree, Racing, SearchInput, Shortlist, Staged, wordnet_tree
from vl_diffusion.search import nested_order

ANIMALS = ("cat", "dog", "wolf", "trout", "shark", "oak")
TREE = {
    "animal": {"mammal": {"feline": ["cat"], "canine": ["dog", "wolf"]}, "fish": ["trout", "shark"]},
    "plant": ["oak"],
}


def play(search, errors: np.ndarray, num_classes: int | None = None, logits: np.ndarray | None = None):
    """The result, the requests, and how often each entry of `errors` was asked for."""
    asked, made = np.zeros(errors.shape, int), []
    requests = search.requests(SearchInput(num_classes or len(errors), logits))
    classes, draws = next(requests)
    while True:
        asked[np.ix_(classes, draws)] += 1
        made.append((classes.tolist(), draws.tolist()))
        try:
            classes, draws = requests.send(errors[np.ix_(classes, draws)])
        except StopIteration as end:
            return end.value, made, asked


def errors_of(levels: list[float], draws: int = 32) -> np.ndarray:
    return np.array(levels)[:, None] + np.random.default_rng(0).normal(0, 0.01, draws)


def test_a_tree_prunes_branches_before_evaluating_their_classes():
    search = LabelTree(TREE, ANIMALS, Exhaustive(32), keep=1, draws=4, representatives=2)
    # Of the animals' five leaves, those in the middle of two halves are dog and trout.
    winner, made, asked = play(search, errors_of([0.5, 0.4, 0.1, 0.6, 0.7, 0.9]))
    first = nested_order(32)[:4].tolist()
    assert winner == 2
    assert made[:2] == [([1, 3, 5], first), ([0, 2, 4], first)]
    # All that the third level asks for is known. The canines that are left see the draws that they have not seen.
    assert [(classes, len(draws)) for classes, draws in made[2:]] == [([1, 2], 28)]
    assert asked.max() == 1
    assert asked.sum(1).tolist() == [4, 32, 32, 4, 4, 4]


def test_names_of_inner_nodes_are_evaluated_as_further_classes():
    search = LabelTree(TREE, ANIMALS, Exhaustive(32), keep=1, draws=4, probe="names")
    # A node with a single class is that class.
    assert search.inner_names == ("animal", "mammal", "fish", "canine")
    errors = errors_of([0.5, 0.4, 0.1, 0.6, 0.7, 0.9, 0.2, 0.6, 0.3, 0.1])
    winner, made, asked = play(search, errors, num_classes=6)
    assert [classes for classes, _ in made] == [[5, 6], [7, 8], [3, 4]]
    assert winner == 3
    assert asked.sum(1).tolist() == [0, 0, 0, 32, 32, 4, 4, 4, 4, 0]
    assert LabelTree(TREE, ANIMALS).inner_names == ()


def test_a_tree_scores_a_node_by_its_best_leaf_or_by_their_mean():
    tree = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    errors = errors_of([0.1, 0.9, 0.4, 0.4])
    best = LabelTree(tree, ("a0", "a1", "b0", "b1"), Exhaustive(32), keep=1)
    mean = LabelTree(tree, ("a0", "a1", "b0", "b1"), Exhaustive(32), keep=1, score="mean")
    assert play(best, errors)[0] == 0
    assert play(mean, errors)[0] == 2


def test_indices_follow_the_classes_not_the_tree():
    shuffled = ("oak", "shark", "dog", "cat", "trout", "wolf")
    search = LabelTree(TREE, shuffled, Racing(32), keep=2)
    for best in range(6):
        levels = [1.0] * 6
        levels[best] = 0.2
        assert play(search, errors_of(levels))[0] == best


def test_a_flat_tree_is_its_inner_search():
    classes = ("a", "b", "c")
    errors = errors_of([0.3, 0.2, 0.4])
    _, made, _ = play(LabelTree({"all": list(classes)}, classes, Staged((4, 32), (2, 1))), errors)
    _, alone, _ = play(Staged((4, 32), (2, 1)), errors)
    assert made == alone


@pytest.mark.parametrize(
    ("tree", "classes", "error", "message"),
    [
        ({"a": ["x"]}, ("x", "y"), ValueError, "tree lacks the classes 'y'"),
        ({"a": ["x", "y", "z"]}, ("x", "y"), ValueError, "tree has names that are not classes: 'z'"),
        ({"a": ["x", "y"], "b": ["y"]}, ("x", "y"), ValueError, "once, but repeats 'y'"),
        ({"a": [], "b": ["x"]}, ("x",), ValueError, "class names below 'a'"),
        ({"a": "x"}, ("x",), TypeError, "a sequence of class names below 'a', got 'x'"),
        ({"a": [1]}, ("x",), TypeError, "class names below 'a', got 1"),
        ({"x": ["x"]}, "x", TypeError, "single string 'x'"),
    ],
)
def test_trees_that_do_not_fit_the_classes_are_refused(tree, classes, error, message):
    with pytest.raises(error, match=message):
        LabelTree(tree, classes)


def test_a_tree_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="must be the 6 classes of the tree, got 7"):
        next(LabelTree(TREE, ANIMALS).requests(SearchInput(7)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"draws": 40, "inner": Exhaustive(32)}, r"draws must be at most the inner search's \(32\), got 40"),
        ({"probe": "nodes"}, "probe must be leaves or names, got 'nodes'"),
        ({"score": "max"}, "score must be min or mean, got 'max'"),
    ],
)
def test_invalid_tree_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LabelTree(TREE, ANIMALS, **settings)


def test_a_shortlist_shows_the_inner_search_only_the_likeliest_classes():
    errors = errors_of([0.1, 0.5, 0.4, 0.6, 0.3])
    search = Shortlist(Exhaustive(32), top=3)
    winner, made, asked = play(search, errors, logits=np.array([-1.0, 5, 2, 9, 1]))
    assert winner == 2
    assert made[0][0] == [1, 2, 3]
    assert asked.sum() == 96 == search.budget(5)
    assert search.budget(2) == 64
    # Equal scores are taken in order.
    assert play(search, errors, logits=np.zeros(5))[0] == 0


def test_a_single_remaining_class_is_evaluated_once():
    errors = errors_of([0.1, 0.5, 0.4, 0.6, 0.3], draws=250)
    for limit in (None, 1):
        search = Shortlist(top=1, max_evaluations=limit)
        winner, made, _ = play(search, errors, logits=np.array([-1.0, 5, 2, 9, 1]))
        assert (winner, made, search.budget(5)) == (3, [([3], [125])], 1)
    tree = LabelTree({"few": ["a"], "many": ["b", "c", "d", "e"]}, tuple("abcde"), keep=1)
    winner, _, asked = play(tree, errors)
    # Its draws of the first level are known.
    assert winner == 0
    assert asked.sum(1)[0] == 8
    assert asked.sum() == 8 * 4


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (None, "logits are missing"),
        (np.zeros(4), r"logits must have shape \(5,\), one per class, got \(4,\)"),
        (np.array([0, 1, np.nan, 2, 3]), "logits must not be NaN, got 1 of 5"),
    ],
)
def test_a_shortlist_needs_a_score_for_every_class(logits, message):
    with pytest.raises(ValueError, match=message):
        next(Shortlist().requests(SearchInput(5, logits)))


def test_a_budget_needs_an_inner_search_with_that_setting():
    class Other:
        num_draws = 4

    with pytest.raises(TypeError, match="inner must have the setting max_evaluations"):
        Shortlist(Other(), max_evaluations=10)
    assert Shortlist(Racing(max_evaluations=50), max_evaluations=80).budget(9) == 50


# ---- WordNet ----

SYNSETS = {
    # name: (words, hypernyms as (symbol, name))
    "entity": ("entity", []),
    "animal": ("animal animate_being", [("@", "entity")]),
    "mammal": ("mammal", [("@", "animal")]),
    "canine": ("canine", [("@", "mammal")]),
    "dog": ("dog domestic_dog", [("@", "canine"), ("@", "pet")]),
    "poodle": ("poodle", [("@", "dog")]),
    "wolf": ("wolf", [("@", "canine")]),
    "shepherd": ("German_shepherd alsatian", [("@", "dog")]),
    "pet": ("pet", [("@", "animal")]),
    "lassie": ("Lassie", [("@i", "dog")]),
    "crane_bird": ("crane", [("@", "animal")]),
    "egret": ("egret", [("@", "crane_bird")]),
    "sarus": ("sarus", [("@", "crane_bird")]),
    "crane_machine": ("crane", [("@", "entity")]),
}


@pytest.fixture
def wordnet(tmp_path):
    """A folder in the format of wndb(5), whose offsets are bytes into data.noun."""
    license = "".join(f"  {i} This software and database is being provided to you\n" for i in range(1, 4))

    def record(name: str, offsets: dict[str, int]) -> str:
        words, parents = SYNSETS[name]
        listed = " ".join(f"{word} 0" for word in words.split())
        pointers = [("~", "entity"), *parents]  # what is not a hypernym is passed over
        shown = " ".join(f"{symbol} {offsets.get(to, 0):08d} n 0000" for symbol, to in pointers)
        return (
            f"{offsets.get(name, 0):08d} 03 n {len(words.split()):02x} {listed} {len(pointers):03d} {shown}"
            ' | a gloss; "with @ 1 n"  \n'
        )

    offsets, place = {}, len(license)
    for name in SYNSETS:
        offsets[name] = place
        place += len(record(name, {}))
    (tmp_path / "data.noun").write_text(license + "".join(record(name, offsets) for name in SYNSETS))
    senses: dict[str, list[int]] = {}
    for name, (words, _) in SYNSETS.items():
        for word in words.lower().split():
            senses.setdefault(word, []).append(offsets[name])
    lines = [
        f"{lemma} n {len(where)} 2 @ ~ {len(where)} 0 {' '.join(f'{o:08d}' for o in where)}  \n"
        for lemma, where in sorted(senses.items())
    ]
    (tmp_path / "index.noun").write_text(license + "".join(lines))
    return tmp_path


def test_wordnet_gives_the_tree_of_hypernyms_without_chains(wordnet):
    tree = wordnet_tree(["wolf", "Poodle", "german shepherd", "egret", "sarus"], wordnet)
    assert tree == {
        "animal": {
            "canine": {
                "wolf": ("wolf",),
                "dog": {"Poodle": ("Poodle",), "german shepherd": ("german shepherd",)},
            },
            "crane": {"egret": ("egret",), "sarus": ("sarus",)},
        }
    }
    LabelTree(tree, ("wolf", "Poodle", "german shepherd", "egret", "sarus"))


def test_a_class_above_another_and_an_instance_stand_below_their_node(wordnet):
    assert wordnet_tree(["dog", "lassie", "wolf"], wordnet) == {
        "canine": {"dog": {"dog": ("dog",), "lassie": ("lassie",)}, "wolf": ("wolf",)}
    }


def test_the_first_sense_and_the_first_hypernym_count(wordnet):
    # The crane is a bird first, and the dog a canine before it is a pet.
    assert wordnet_tree(["crane", "dog"], wordnet) == {"animal": {"dog": ("dog",), "crane": ("crane",)}}


def test_synonyms_are_siblings(wordnet):
    assert wordnet_tree(["dog", "domestic  Dog"], wordnet) == {
        "dog": {"dog": ("dog",), "domestic  Dog": ("domestic  Dog",)}
    }


def test_siblings_of_one_name_are_told_apart(wordnet):
    # A class that is no noun, and a node that has its name.
    tree = wordnet_tree(["canines", "wolf", "dog", "egret", "sarus"], wordnet, missing="root")
    assert set(tree) == {"canines", "animal"}
    index = wordnet / "index.noun"
    index.write_text(index.read_text().replace("animal n", "beast n"))
    tree = wordnet_tree(["animal", "wolf", "egret"], wordnet, missing="root")
    assert tree == {"animal": ("animal",), "animate being": {"wolf": ("wolf",), "egret": ("egret",)}}


def test_names_that_are_no_nouns_are_listed_or_put_under_the_root(wordnet):
    names = ["wolf", "t-shirt/top", "dog", "ankle boot"]
    with pytest.raises(ValueError, match="no noun 't-shirt/top', 'ankle boot'; rename"):
        wordnet_tree(names, wordnet)
    tree = wordnet_tree(names, wordnet, missing="root")
    assert tree["t-shirt/top"] == ("t-shirt/top",)
    assert tree["canine"] == {"wolf": ("wolf",), "dog": ("dog",)}
    with pytest.raises(ValueError, match="missing must be error or root, got 'skip'"):
        wordnet_tree(names, wordnet, missing="skip")


def test_files_that_are_missing_or_damaged_are_named(wordnet, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no index\.noun in .*elsewhere"):
        wordnet_tree(["dog"], tmp_path / "elsewhere")
    data = (wordnet / "data.noun").read_bytes()
    (wordnet / "data.noun").write_bytes(data[:300])
    with pytest.raises(ValueError, match=r"data\.noun is not in WordNet's format at byte"):
        wordnet_tree(["wolf"], wordnet)
    (wordnet / "index.noun").write_text("wolf n 1\n")
    with pytest.raises(ValueError, match=r"index\.noun is not in WordNet's format: 'wolf n 1'"):
        wordnet_tree(["wolf"], wordnet)


def replaced(path, old, new):
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


@pytest.mark.parametrize("count", ["999999999", "-01", "1e3"])
def test_a_count_that_wordnets_line_does_not_hold_is_refused(wordnet, count):
    lines = (wordnet / "data.noun").read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if " wolf 0 " in line)
    lines[place] = re.sub(r" \d{3} ~", f" {count} ~", lines[place])
    (wordnet / "data.noun").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"data\.noun is not in WordNet's format at byte"):
        wordnet_tree(["wolf"], wordnet)


def test_hypernyms_in_a_circle_are_refused(wordnet):
    offsets = {line.split()[0] for line in (wordnet / "data.noun").read_text().splitlines() if line[0] != " "}
    wolf = next(line.split()[0] for line in (wordnet / "data.noun").read_text().splitlines() if " wolf 0 " in line)
    content = (wordnet / "data.noun").read_text()
    for offset in offsets:
        content = content.replace(f"@ {offset} n", f"@ {wolf} n")
    (wordnet / "data.noun").write_text(content)
    with pytest.raises(ValueError, match=rf"the hypernyms of the synset at byte {int(wolf)} do not end"):
        wordnet_tree(["wolf"], wordnet)


@pytest.mark.parametrize("offset", ["-0000001", "9" * 20])
def test_an_offset_outside_of_the_file_is_refused(wordnet, offset):
    wolf = next(line for line in (wordnet / "index.noun").read_text().splitlines() if line.startswith("wolf "))
    replaced(wordnet / "index.noun", wolf, " ".join([*wolf.split()[:-1], offset]))
    with pytest.raises(ValueError, match=r"index\.noun is not in WordNet's format: 'wolf n"):
        wordnet_tree(["wolf"], wordnet)


def test_a_tree_that_is_too_deep_is_refused():
    tree = ["cat", "dog"]
    for _ in range(2000):
        tree = {"more": tree}
    with pytest.raises(ValueError, match="tree must be at most 100 levels deep"):
        LabelTree(tree, ("cat", "dog"))
