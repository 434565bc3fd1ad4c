"""Vocabularies, their texts and queries; blocked names; descriptors; label sets."""

from __future__ import annotations

import numpy as np
import pytest
from vl_explorer.vocabulary.blocklist import VULGAR_NAMES, is_vulgar
from vl_explorer.vocabulary.concepts import Concept, Vocabulary
from vl_explorer.vocabulary.descriptors import DESCRIPTORS, FixedDescriptors, ModelDescriptors, cleaned_answer
from vl_explorer.vocabulary.labels import nearest_to_labels
from vl_explorer.vocabulary.templates import text_of

CRANE_BIRD = Concept("crane", "1", "it wades", "bird")
CRANE = Concept("Crane", "2", "it lifts", "machine")
ENTITY = Concept("entity", "3", "that which is")
WORDS = Vocabulary([CRANE_BIRD, CRANE, ENTITY])


def test_texts_leave_out_what_is_empty():
    assert WORDS.texts() == ["crane (bird): it wades", "Crane (machine): it lifts", "entity: that which is"]
    assert Vocabulary.of(["crane"]).texts() == ["crane"]
    assert text_of(ENTITY, "{name}, a kind of [{hypernym}]") == "entity, a kind of"
    assert text_of(Concept("C:", "x"), "{name}") == "C:"
    assert text_of(CRANE, "a photo of a {name}") == "a photo of a Crane"


def test_a_shared_name_is_searched_for_with_its_hypernym():
    assert WORDS.queries() == ["crane bird", "Crane machine", "entity"]
    assert WORDS.query(1) == "Crane machine"
    assert WORDS.queries(lambda concept: "old" if concept is CRANE else "") == [
        *("crane bird", "old Crane machine", "entity")
    ]
    assert WORDS[1:].queries() == ["Crane", "entity"]


def test_a_vocabulary_is_a_sequence_with_keys():
    assert len(WORDS) == 3
    assert WORDS[-1] is ENTITY
    assert list(WORDS[:2]) == [CRANE_BIRD, CRANE]
    assert WORDS.index_of("2") == 1
    assert Vocabulary.of(["sea_horse ", "cat"])[0] == Concept("sea horse", "sea horse")
    assert list(WORDS.without(["CRANE"])) == [ENTITY]
    assert list(WORDS.without(lambda concept: concept is ENTITY)) == [CRANE_BIRD, CRANE]


def test_a_file_gives_names_with_senses(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("\ufeff# mine\r\ncrane\tit wades\tbird\n\ncrane\tit lifts\tmachine\nnaïve art\n", encoding="utf-8")
    found = Vocabulary.read(path)
    assert found.queries() == ["crane bird", "crane machine", "naïve art"]
    assert [concept.definition for concept in found] == ["it wades", "it lifts", ""]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: Vocabulary([]), "at least one"),
        (lambda path: Vocabulary.of(["a", "b", "a"]), "got 'a' 2 times"),
        (lambda path: Vocabulary.of([" "]), "must have a name"),
        (lambda path: WORDS.without(lambda concept: True), "at least one"),
        (lambda path: WORDS.texts("{name} {size}"), "template must have fields"),
        (lambda path: WORDS.texts("thing"), "template must have fields"),
        (lambda path: WORDS.texts("{name"), "must be a format string"),
        (lambda path: Vocabulary.read(path), "line 2 must be a name"),
        (lambda path: Vocabulary.read(path.with_name("latin.tsv")), r"latin\.tsv must be UTF-8 text, byte 3 is not"),
        (lambda path: Vocabulary.read(path.with_name("empty.tsv")), r"empty\.tsv: concepts must be at least one"),
        (lambda path: FixedDescriptors([]), "at least one word"),
        (lambda path: FixedDescriptors("old"), "must be a list"),
        (lambda path: ModelDescriptors(str, prompt="say"), "must have the field"),
        (lambda path: ModelDescriptors(str, tries=0), "tries must be at least 1"),
        (lambda path: nearest_to_labels(np.eye(3), np.eye(2)), "labels must have shape"),
        (lambda path: nearest_to_labels(np.eye(3), np.eye(3), share=0), "share must be"),
        (lambda path: nearest_to_labels(np.eye(3), np.eye(3), neighbors=4), r"in 1\.\.3"),
    ],
)
def test_what_makes_no_vocabulary_is_refused(make, words, tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("a\n\tb\n", encoding="utf-8")
    (tmp_path / "latin.tsv").write_bytes("café\n".encode("latin-1"))
    (tmp_path / "empty.tsv").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        make(path)


@pytest.mark.parametrize(
    ("concept", "blocked"),
    [
        (Concept("Motherfucker", "1"), True),
        (Concept("cock", "1", "obscene terms for penis"), True),
        (Concept("cock", "1", "adult male chicken"), False),
        (Concept("gook", "1", "any thick, viscous matter"), True),
        (Concept("Mick", "1", "(ethnic slur) offensive term for a person of Irish descent"), True),
        (Concept("oriental", "1", "a member of a race; the term is regarded as offensive by Asians"), True),
        (Concept("softness", "1", "the trait of being effeminate", usages=("disparagement",)), True),
        (Concept("hood", "1", "a neighborhood", usages=("slang",)), False),
        (Concept("euphemism", "1", "an inoffensive expression that is substituted for an offensive one"), False),
        (Concept("offense", "1", "the team that has the ball; an offensive move"), False),
        (Concept("hate mail", "1", "mail that expresses hatred (usually in offensive language)"), False),
    ],
)
def test_vulgar_names_and_marked_senses_are_blocked(concept, blocked):
    assert is_vulgar(concept) == blocked
    assert all(name == name.strip().lower() for name in VULGAR_NAMES)


def test_fixed_descriptors_are_a_function_of_key_and_seed():
    concepts = [Concept("x", str(number)) for number in range(200)]
    first, again, other = (list(map(FixedDescriptors(seed=seed), concepts)) for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) > 30
    assert len(set(DESCRIPTORS)) == len(DESCRIPTORS)


def test_a_model_is_asked_again_when_it_repeats_the_concept_and_once_a_name():
    prompts, answers = [], iter(["Crane bird", "", ' "tall"\nowl: brown', "never"])

    def answer(prompt):
        prompts.append(prompt)
        return next(answers)

    descriptors = ModelDescriptors(answer)
    assert [descriptors(CRANE_BIRD), descriptors(CRANE_BIRD)] == ["tall", "tall"]
    assert len(prompts) == 3
    assert prompts[0].endswith("\ncrane:")
    assert ModelDescriptors(lambda prompt: "a crane", tries=2)(CRANE_BIRD) == ""


@pytest.mark.parametrize(
    ("answer", "word"), [(" tall, and thin", "tall"), ("old.", "old"), ("a_b", "a"), ("very   old\nx", "very old")]
)
def test_answers_are_cut_at_the_first_end(answer, word):
    assert cleaned_answer(answer) == word


def test_label_sets_keep_the_share_that_is_nearest_on_average():
    rows = np.random.default_rng(0).standard_normal((400, 8))
    rows[7] = 0
    labels = np.random.default_rng(1).standard_normal((9, 8))
    units = [row / max(np.linalg.norm(row), 1e-300) for row in rows]
    cosines = [sorted((row @ label / np.linalg.norm(label) for label in labels), reverse=True) for row in units]
    nearness = np.array([np.mean(values[:3]) for values in cosines])
    found = nearest_to_labels(rows, 5 * labels)
    assert found.tolist() == sorted(np.argsort(-nearness)[:40].tolist())
    assert 7 not in nearest_to_labels(rows, labels, share=0.99)
    assert len(nearest_to_labels(rows, labels, share=1e-9)) == 1
