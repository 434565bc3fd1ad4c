"""The shipped word vectors are those that their script makes, and texts are means of known words."""

from __future__ import annotations

import importlib.util
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save_file
from vl_explorer.embeddings.embedder import unit_rows
from vl_explorer.embeddings.glove import SHIPPED, GloveNouns

SPEC = importlib.util.spec_from_file_location(
    "build_glove_nouns", Path(__file__).parents[2] / "experiments" / "glove" / "build_glove_nouns.py"
)
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def small_file(path, words=("cat", "berry", "fox", "owl-like"), **changes):
    vectors = np.array([[127, 0], [0, 127], [-127, 0], [60, 60]], np.int8)[: len(words)]
    text = np.frombuffer(zlib.compress("\n".join(words).encode()), np.uint8)
    scales = np.array([1 / 127, 2 / 127, 1 / 127, 1], np.float16)[: len(words)]
    save_file({"vectors": vectors, "scales": scales, "words": text} | changes, path)
    return path


def test_a_text_is_the_mean_of_its_known_words(tmp_path):
    embedder = GloveNouns(small_file(tmp_path / "words.safetensors"))
    rows = embedder(
        ["Cat!", "the CATS and a berry of xyzzy", "cat fox", "", "berries foxes", "owl-like", "cat-fox berry"]
    )
    expected = unit_rows(np.array([[1, 0], [1, 2], [0, 0], [0, 0], [-1, 2], [1, 1], [0, 2]]))
    np.testing.assert_allclose(rows, expected, atol=1e-3)
    assert rows.dtype == np.float32
    assert embedder.known("the owl-like CATS, e.g. cat-fox") == ["owl-like", "cat", "cat", "fox"]
    assert embedder([]).shape == (0, 2)


def test_shipped_words_know_what_is_alike():
    embedder = GloveNouns()
    assert len(list(embedder.words)) == 24_859
    assert SHIPPED.stat().st_size < 1_400_000
    cat, kittens, treaty, agreement = embedder(["cat", "kittens", "treaty", "an agreement between states"])
    assert cat @ kittens > 0.5 > cat @ treaty
    assert treaty @ agreement > 0.4
    np.testing.assert_allclose(np.linalg.norm(embedder(["cat", "dog"]), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(embedder(["treaty", "cat"])[1], cat)


def test_the_script_makes_the_shipped_file():
    data = os.environ.get("VL_DATA")
    source = Path(data or ".") / "glove50_nouns" / "glove50.npz"
    if data is None or not source.is_file():
        pytest.skip("the vectors that the file was made of are not here; set VL_DATA to the folder of glove50_nouns")
    with np.load(source) as arrays:
        words, vectors = arrays["words"].tolist(), arrays["vectors"]
    # Other libraries for linear algebra and compression may round and pack in another way.
    built, shipped = load(script.build(words, vectors)), load(SHIPPED.read_bytes())
    assert zlib.decompress(built["words"].tobytes()) == zlib.decompress(shipped["words"].tobytes())
    np.testing.assert_allclose(built["scales"], shipped["scales"], rtol=2e-3)
    np.testing.assert_allclose(built["vectors"].astype(int), shipped["vectors"], atol=1)


def test_built_rows_are_close_to_the_vectors_without_their_common_part(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((40, 8)) + 5
    words = ["1", *(f"w{chr(97 + place // 7)}{chr(97 + place % 7)}" for place in range(38, -1, -1))]
    (tmp_path / "words.safetensors").write_bytes(script.build(words, vectors))
    found = GloveNouns(tmp_path / "words.safetensors")
    rows = vectors[:0:-1] - vectors[1:].mean(0)
    directions = np.linalg.svd(rows, full_matrices=False)[2][:2]
    rows -= rows @ directions.T @ directions
    assert list(found.words) == sorted(words[1:])
    np.testing.assert_allclose(found(words[:0:-1]), unit_rows(rows), atol=0.02)


@pytest.mark.parametrize(
    ("texts", "words"), [("cat", "got one text 'cat'"), (["cat", 3], "got int at 1"), ([None], "got NoneType at 0")]
)
def test_texts_that_are_none_are_refused(texts, words):
    with pytest.raises(TypeError, match=words):
        GloveNouns()(texts)


def test_files_with_other_tensors_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold vectors, scales and words"):
        GloveNouns(small_file(tmp_path / "a", more=np.zeros(1)))
    with pytest.raises(ValueError, match="each of 4 words"):
        GloveNouns(small_file(tmp_path / "b", scales=np.zeros(3, np.float16)))
    with pytest.raises(ValueError, match="finite, got others in 1 rows"):
        unit_rows(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match=r"shape \(N, d\)"):
        unit_rows(np.ones(3))
