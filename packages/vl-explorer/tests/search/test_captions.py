"""Search in local captions: what is found, in which order, and the images behind it."""

import asyncio
import math
import random
import re

import numpy as np
import pytest
from PIL import Image
from vl_core.data import ImageDataset, open_dataset
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.search.ranking.best import best
from vl_explorer.search.ranking.bm25 import BM25
from vl_explorer.search.ranking.similarity import Similarity
from vl_explorer.search.ranking.words import words

WORDS = ["red", "blue", "green", "cat", "dog", "fox", "ball", "house", "old", "small"]


def some_captions(count, seed=0):
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randrange(7))) for _ in range(count)]


def scores_by_loop(captions, query, k=1.2, b=0.75):
    """BM25 as it stands in the paper, word by word and text by text."""
    texts = [words(caption) for caption in captions]
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for word in words(query):
            holding = sum(word in other for other in texts)
            weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            count = text.count(word)
            score += weight * count * (k + 1) / (count + k * (1 - b + b * len(text) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["red", "Red foxes!", "cat cat dog", "small old house zebra", "zebra"])
def test_bm25_is_the_formula(query):
    captions = some_captions(200)
    scores = np.array(scores_by_loop(captions, query))
    found = BM25(captions).search(query, 500)
    assert set(found.tolist()) == set(np.flatnonzero(scores).tolist())
    assert np.all(np.diff(scores[found]) <= 1e-6)


def test_rare_words_count_more_and_long_texts_less():
    assert BM25(["a cat", "a cat", "a fox"]).search("cat fox", 1).tolist() == [2]
    index = BM25(["a cat", "a cat", "a fox", "a fox and much else that is not of interest"])
    assert index.search("fox", 4).tolist() == [2, 3]
    assert BM25(["x x y", "y x y y y y", "y"], length_share=0.0, saturation=0.0).search("x", 3).tolist() == [0, 1]


def test_ties_are_broken_by_number_whatever_the_count():
    index = BM25(["same words"] * 50 + ["other"])
    for count in (1, 7, 50, 60):
        assert index.search("same", count).tolist() == list(range(min(count, 50)))
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 4, 100).astype(float)
    order = sorted(range(100), key=lambda number: (-scores[number], number))
    assert all(best(scores, np.arange(100), count).tolist() == order[:count] for count in range(1, 102))


def test_words_fold_case_form_and_plural():
    assert words("ＣＡＴＳ Straße's fly-by_night") == ["cat", "strasse", "s", "fly", "by", "night"]
    assert words("bus glass berries houses is gas") == ["bus", "glass", "berry", "house", "is", "gas"]


def letters(texts):
    """Texts by how often each letter stands in them: a stand-in for an embedder."""
    rows = np.array([[text.count(letter) for letter in "abcdefgh"] for text in texts], np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_similarity_is_the_cosine_in_any_blocks(block):
    texts = ["abc", "zzz", "aab", "gh", "bac"]
    index = Similarity(texts, letters, block=block)
    assert index.search("ab", 10).tolist() == [2, 0, 4, 3]
    assert index.search("zz", 10).tolist() == []


@pytest.mark.parametrize(
    ("rows", "words_"),
    [
        (lambda texts: np.zeros(3), r"shape \(2, d\)"),
        (lambda texts: np.zeros((1, 3)), r"shape \(2, d\)"),
        (lambda texts: np.full((len(texts), 3), np.nan), "finite"),
    ],
)
def test_embeddings_of_another_shape_are_refused(rows, words_):
    with pytest.raises(ValueError, match=words_):
        Similarity(["a", "b"], rows)


@pytest.mark.parametrize("embed", [None, letters])
def test_answers_depend_on_query_and_count_alone(embed):
    captions = ["a bed", "the cab", "", "face", "a bed"]
    query = "bed"

    def found(count):
        page = asyncio.run(CaptionEngine(captions, embed=embed).search(query, count))
        return [result.url for result in page.results], page.exhausted, page.requests, page.cost

    every = found(100)[0]
    assert every[:2] == ["local:captions/0", "local:captions/4"]
    for count in range(1, 7):
        assert found(count) == (every[:count], count >= len(every), 0, 0.0)


def test_the_emoji_are_found_by_their_names_and_read_by_address():
    engine = CaptionEngine.open("emoji:noto", split="test")
    page = asyncio.run(engine.search("grinning faces", 3))
    assert page.results[0].title.startswith("grinning face")
    assert re.fullmatch("local:emoji-noto-[0-9a-f]{8}/[0-9]+", page.results[0].url)
    dataset = open_dataset("emoji:noto", split="test")
    number = int(page.results[0].url.rpartition("/")[2])
    assert page.results[0].identifier == dataset.names[number]
    assert engine.image(page.results[0].url) == dataset[number][0]
    assert engine.describe().startswith(f"{engine.name}: free")


def small(captions=None, classes=("cat", "dog"), labels=(0, 1, -1)):
    images = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in range(len(labels))]
    names = [f"{number}.png" for number in range(len(labels))]
    metadata = [{"author": "Ann", "license": "CC0-1.0"}] * len(labels)
    return ImageDataset(
        images, labels, name="./Some pets.npz", names=names, classes=classes, captions=captions, metadata=metadata
    )


def test_classes_serve_where_there_are_no_captions():
    engine = CaptionEngine.open(small(), name="pets")
    (result,) = asyncio.run(engine.search("dogs", 5)).results
    assert (result.url, result.title, result.author, result.license) == ("local:pets/1", "dog", "Ann", "CC0-1.0")
    assert engine.image(result.url).getpixel((0, 0)) == (1, 0, 0)


def pets(**options):
    return CaptionEngine.open(small(), name="pets", **options)


def test_other_names_or_captions_are_other_addresses():
    names = [
        CaptionEngine.open(dataset).name
        for dataset in (small(), small(), small(classes=("cat", "fox")), small(captions=["a", "b", "c"]))
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(name.startswith("Some-pets-") for name in names)


@pytest.mark.parametrize(
    ("make", "words_"),
    [
        (
            lambda: CaptionEngine.open(small(classes=(), labels=(-1, -1))),
            "must have captions or classes .*, got neither",
        ),
        (lambda: CaptionEngine(["a"], name="a/b"), "name must consist of letters"),
        (lambda: CaptionEngine(["a"], name=""), "name must consist of letters"),
        (lambda: CaptionEngine(["a"], images=small()), r"as many as images \(3\), got 1"),
        (lambda: CaptionEngine(["a"]).image("local:captions/0"), "captions has captions alone"),
        (lambda: pets().image("local:pets/3"), "with a number below 3, got 'local:pets/3'"),
        (lambda: pets().image("local:pets/00"), "url must be local:pets/NUMBER"),
        (lambda: pets().image("local:pets/-1"), "url must be"),
        (lambda: pets().image("local:other/0"), "url must be"),
        (lambda: pets().image("https://example.org/0"), "url must be"),
        (lambda: BM25([], saturation=-1.0), "saturation must be"),
        (lambda: BM25([], length_share=1.5), "length_share must lie in 0..1"),
        (lambda: asyncio.run(pets().search("", 3)), "query must be text"),
        (lambda: asyncio.run(pets().search("cat", 0)), "count must be"),
    ],
)
def test_what_captions_cannot_do_is_refused(make, words_):
    with pytest.raises(ValueError, match=words_):
        make()


def test_no_captions_are_an_empty_world():
    for engine in (CaptionEngine([]), CaptionEngine(["", ""]), CaptionEngine([], embed=letters)):
        page = asyncio.run(engine.search("anything", 3))
        assert (page.results, page.exhausted) == ((), True)
