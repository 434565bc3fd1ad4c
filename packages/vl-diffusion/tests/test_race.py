"""The page of a race: who is out since when, the sentence at the end, and the lanes of the chart."""

from __future__ import annotations

import re

import numpy as np
import pytest
from vl_diffusion import Classification, DiffusionClassifier, Racing
from vl_diffusion.demo import _messages as messages
from vl_diffusion.demo._chart import RaceChart
from vl_diffusion.demo._race import Race

KNOWN = ("T-shirt/top", "trouser", "bag", "ankle boot")


def a_round(
    draws: list[int], differences: list[float], classes: tuple[str, ...] = KNOWN, out: tuple[str, ...] = ()
) -> Classification:
    """A result over one image; every draw costs one evaluation, and the class of difference 0 leads.

    Those are out that saw fewer draws than it, and those that are named.
    """
    count = np.array([draws], np.int64)
    of_one = np.array([differences])
    return Classification(
        classes=classes,
        image_ids=np.array([1]),
        errors=0.1 + of_one,
        standard_errors=np.full_like(of_one, 0.01),
        draws=count,
        evaluations=count,
        inner_evaluations=np.zeros(1, np.int64),
        differences=of_one,
        difference_standard_errors=np.where(of_one == 0, 0.0, 0.001),
        predictions=np.array([differences.index(0)]),
        probabilities=np.full_like(of_one, 0.25),
        num_values=np.array([784]),
        pruned=(count < count.max()) | np.isin(classes, out),
    )


@pytest.fixture
def race() -> Race:
    """Four classes, of which the last drops out in round 1, the first in round 2."""
    race = Race(KNOWN, draws=100)
    race.add(a_round([6, 6, 6, 6], [0.02, 0.0, 0.001, 0.03]))
    race.add(a_round([8, 8, 8, 6], [0.02, 0.001, 0.0, 0.03]))
    race.add(a_round([8, 10, 10, 6], [0.02, 0.0, 0.002, 0.03]))
    return race


def test_a_class_is_out_since_the_last_round_that_it_was_seen_in(race):
    assert race.out.tolist() == [True, False, False, True]
    assert race.last_seen.tolist() == [2, 3, 3, 1]
    assert not race.decided
    assert [KNOWN[k] for k in race.order] == ["trouser", "bag", "T-shirt/top", "ankle boot"]


def test_a_race_that_ends_before_its_draws_left_one_class(race):
    race.add(a_round([8, 13, 13, 6], [0.02, 0.0, 0.002, 0.03], out=("bag",)))
    race.finish()
    assert race.decided
    assert race.out.tolist() == [True, False, True, True]
    said = messages.result_html(race, 0.99)
    assert "<strong>trouser</strong>" in said
    assert "All 3 others dropped out, “bag” last, in round 4." in said
    assert "took 40 evaluations, 90 % fewer than exhaustive search, which takes 400." in said
    assert "99 %" in said


def test_a_race_whose_draws_ran_out_says_who_might_have_won(race):
    race.add(a_round([8, 100, 100, 6], [0.02, 0.0, 0.002, 0.03]))
    race.finish()
    assert not race.decided
    assert race.out.tolist() == [True, False, False, True]
    assert "a close call: “bag” could not be ruled out with 100 draws" in messages.result_html(race, 0.95)


@pytest.mark.parametrize("seed", range(3))
def test_it_follows_a_real_race(seed, pixel_dit_folder):
    search = Racing(30, level=0.2)
    classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=search, seed=seed)
    image = np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)
    race, counts = Race(classifier.classes, 30), []
    for result in classifier.watch(image):
        race.add(result)
        counts.append(race.evaluations)
        assert not race.out[race.leader]
        assert f"Round {len(counts)}: <b>{result.predicted_classes[0]}</b> leads" in messages.progress_html(race)
    race.finish()
    whole = classifier.classify(image)
    assert counts == sorted(set(counts))
    assert (race.classes[race.leader],) == whole.predicted_classes
    assert race.evaluations == whole.total_evaluations[0]
    assert race.exhaustive == 10 * 30
    assert race.last_seen[race.leader] == race.rounds == len(counts)
    assert race.last_seen[race.last_rival] == race.rounds


def test_lanes_keep_their_place_in_the_document_and_move_by_style(race):
    chart = RaceChart()
    first = chart.html(race)
    race.add(a_round([8, 12, 12, 6], [0.02, 0.001, 0.0, 0.03]))
    second = chart.html(race)

    def lanes(html: str) -> dict[str, int]:
        found = re.findall(r'class="lane \w*" style="top:(\d+)px"><div class="name" title="([^"]+)"', html)
        return {name: int(top) for top, name in found}

    assert list(lanes(first)) == list(lanes(second)) == list(KNOWN)
    assert lanes(first)["trouser"] == lanes(second)["bag"] == 0
    assert lanes(first)["bag"] == lanes(second)["trouser"] == 30
    assert "out in round 2 · 8 draws" in second
    assert second.count("lane gone") == 2


def test_the_best_of_many_classes_are_drawn():
    classes = tuple(f"class {i}" for i in range(40))
    race, chart = Race(classes, 100), RaceChart()
    differences = [0.01 * i for i in range(40)]
    race.add(a_round([6] * 40, differences, classes))
    assert "24 more classes" in chart.html(race)
    race.add(a_round([8] * 40, differences[::-1], classes))
    html = chart.html(race)
    assert html.count('class="lane ') == 16
    assert "class 39<" in html
    assert "class 0<" not in html


@pytest.mark.parametrize("differences", [[0.0, 0.0], [0.0, float("nan")], [0.0, 1e-9], [0.0, 1e6]])
def test_any_difference_can_be_drawn(differences):
    race = Race(("a", "b"), 10)
    race.add(a_round([2, 0 if np.isnan(differences[1]) else 2], differences, ("a", "b")))
    for place in re.findall(r"(?:left|width):([^%]+)%", RaceChart().html(race)):
        assert 0 <= float(place) <= 100


def test_names_are_escaped():
    names = ("<script>alert(1)</script>", '"><img src=x>')
    race = Race(names, 10)
    race.add(a_round([2, 2], [0.0, 0.1], names))
    race.finish()
    for html in (
        messages.progress_html(race),
        messages.result_html(race, 0.9),
        RaceChart().html(race),
        messages.error_html(names[0]),
    ):
        assert "<script" not in html
        assert "<img" not in html


@pytest.mark.parametrize("typed", ["trouser\nbag", " bag , Trouser ", "BAG\n\n  trouser \n"])
def test_names_are_parsed_from_lines_or_commas(typed):
    assert sorted(messages.checked_names(typed, KNOWN)) == ["bag", "trouser"]


def test_a_text_model_takes_any_names():
    assert messages.checked_names("tench, Tinca tinca\ngreat white shark", None) == (
        "tench, Tinca tinca",
        "great white shark",
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "At least two class names are needed, and there is none"),
        ("bag", "and there is only “bag”"),
        ("bag\nbag\ntrouser", "“bag” is listed more than once"),
        ("bag\nunicorn", "“unicorn” is not among the classes of this model. It knows “T-shirt/top”, "),
        ("bag\ntrousers", "Did you mean “trouser”?"),
        ("cat\ndog", "“cat” and “dog” are not among"),
    ],
)
def test_invalid_names_are_explained(typed, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        messages.checked_names(typed, KNOWN)
