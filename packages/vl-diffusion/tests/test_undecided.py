"""Answers whose margin is within its standard error, and how tables mark them."""

from __future__ import annotations

import csv

import numpy as np
from pyarrow import parquet
from vl_diffusion import DiffusionClassifier, Exhaustive, Shortlist
from vl_diffusion.classification.result import Classification
from vl_diffusion.runs.tables import classification_table, write_classification_csv, write_classification_parquet


def classification(differences, standard_errors):
    """Results of images whose first class is predicted, with these paired differences of the others."""
    differences = np.pad(np.array(differences, float), ((0, 0), (1, 0)))
    errors = np.pad(np.array(standard_errors, float), ((0, 0), (1, 0)))
    count = np.full(differences.shape, 8)
    return Classification(
        classes=("cat", "dog", "frog"),
        image_ids=np.arange(len(differences)),
        errors=differences + 1,
        standard_errors=errors,
        draws=count,
        evaluations=count,
        differences=differences,
        difference_standard_errors=errors,
        predictions=np.zeros(len(differences), np.int64),
        probabilities=np.full(differences.shape, 1 / 3),
        inner_evaluations=np.zeros(len(differences), np.int64),
        num_values=np.full(len(differences), 64),
        pruned=np.zeros(differences.shape, bool),
    )


RESULT = classification(
    # Clear; within the runner-up's error, though not the third class's; equal; one draw; tied; pruned while ahead.
    [[0.3, 0.2], [0.1, 0.9], [0.1, 0.9], [0.1, 0.2], [0.0, 0.5], [-0.2, 0.5]],
    [[0.1, 0.1], [0.2, 0.1], [0.1, 0.1], [np.nan, np.nan], [0.0, 0.1], [0.1, 0.1]],
)
UNDECIDED = [False, True, True, True, True, True]


def test_an_answer_is_decided_if_its_margin_exceeds_the_standard_error():
    assert RESULT.undecided.tolist() == UNDECIDED


def test_tables_mark_them(tmp_path):
    names, truths = [f"{i}.png" for i in range(6)], ["cat", "cat", "dog", None, None, None]
    lines = classification_table(names, truths, RESULT).splitlines()
    assert ["undecided" in line for line in lines[2:8]] == UNDECIDED
    assert lines[4].endswith(" 24  undecided, wrong")
    assert lines[-1] == "5 of 6 answers are undecided: the margin is within its s.e."
    write_classification_csv(tmp_path / "a.csv", names, truths, RESULT)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["undecided"] == "yes" for row in csv.DictReader(file)] == UNDECIDED
    write_classification_parquet(tmp_path / "a.parquet", names, truths, RESULT)
    assert parquet.read_table(tmp_path / "a.parquet")["undecided"].to_pylist() == UNDECIDED


def test_clear_answers_are_not_mentioned():
    clear = classification([[0.3, 0.2]], [[0.1, 0.1]])
    assert "undecided" not in classification_table(["a.png"], [None], clear)


def test_noise_leaves_answers_undecided_and_a_shortlist_of_one_measures_nothing(pixel_dit_folder):
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    result = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(1)).classify(list(images))
    assert result.undecided.all()
    one = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Shortlist(Exhaustive(4), top=1))
    assert one.classify(list(images), logits=np.eye(4, 10)).undecided.all()
