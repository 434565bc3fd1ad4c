"""The builder of the built-in data sets, on a small synthetic source."""

import json

import build_builtin_data as build
import numpy as np
import pytest
from vl_core.data.idx import read_idx


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Thirty training and twenty test images whose pixels are their position, and three concepts in two styles."""
    monkeypatch.setattr(build, "PER_CLASS", {"train": 2, "test": 1})
    monkeypatch.setattr(build, "STYLES", ("noto", "fluent"))
    folder = tmp_path / "source"
    (folder / "fashion_mnist").mkdir(parents=True)
    (folder / "emoji_styles").mkdir()
    for prefix, n in (("train", 30), ("t10k", 20)):
        labels = np.random.default_rng(1).permutation(np.arange(n, dtype=np.uint8) % 10)
        images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 28, 28))
        build.write_idx(folder / f"fashion_mnist/{prefix}-images-idx3-ubyte.gz", images)
        build.write_idx(folder / f"fashion_mnist/{prefix}-labels-idx1-ubyte.gz", labels)
    drawn = {"A": ["noto", "fluent", "openmoji"], "B": ["fluent"], "C": ["openmoji"]}
    concepts = [
        {"hexcode": code, "label": code.lower(), "group": "g", "subgroup": "s", "tags": [], "split": "train"}
        | {"styles": styles}
        for code, styles in drawn.items()
    ]
    lines = "".join(json.dumps(concept) + "\n" for concept in concepts)
    (folder / "emoji_styles/concepts.jsonl").write_text(lines)
    for style, codes in (("noto", ["A"]), ("fluent", ["B", "A"])):
        pixels = np.stack([np.full((64, 64, 3), ord(code), np.uint8) for code in codes])
        np.savez(folder / f"emoji_styles/{style}_64.npz", x=pixels, hexcode=np.array(codes))
    return folder


def run(source, target, seed=0):
    build.main(["--source", str(source), "--target", str(target), "--seed", str(seed)])
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_images_are_balanced_over_classes_and_keep_their_source_index(source, tmp_path):
    run(source, tmp_path / "out")
    for split, original, per_class in (("train", "train", 2), ("test", "t10k", 1)):
        out = tmp_path / "out/fashion"
        index = np.load(out / f"{split}-source-index.npy")
        labels = read_idx(source / f"fashion_mnist/{original}-labels-idx1-ubyte.gz")
        assert len(set(index.tolist())) == 10 * per_class
        assert np.array_equal(read_idx(out / f"{split}-images.idx.gz")[:, 0, 0], index)
        assert np.array_equal(read_idx(out / f"{split}-labels.idx.gz"), labels[index])
        assert np.array_equal(labels[index], np.tile(np.arange(10), per_class))


def test_the_same_seed_gives_the_same_files_and_another_seed_others(source, tmp_path):
    first = run(source, tmp_path / "first")
    assert run(source, tmp_path / "second") == first
    other = run(source, tmp_path / "third", seed=1)
    assert other.keys() == first.keys()
    assert other["fashion/train-source-index.npy"] != first["fashion/train-source-index.npy"]
    assert other["emoji/concepts.jsonl"] == first["emoji/concepts.jsonl"]


def test_each_style_follows_the_order_of_the_concepts(source, tmp_path):
    out = tmp_path / "out/emoji"
    run(source, tmp_path / "out")
    concepts = [json.loads(line) for line in (out / "concepts.jsonl").read_text().splitlines()]
    assert [(concept["hexcode"], concept["styles"]) for concept in concepts] == [
        ("A", ["noto", "fluent"]),
        ("B", ["fluent"]),
    ]
    assert read_idx(out / "fluent-images.idx.gz").shape == (2, 32, 32, 3)
    assert read_idx(out / "fluent-images.idx.gz")[:, 0, 0, 0].tolist() == [ord("A"), ord("B")]


def test_halving_is_the_rounded_mean_of_each_square():
    pixels = np.array([[0, 1], [1, 0]], np.uint8)[None, :, :, None].repeat(3, axis=3)
    assert build.halve(pixels).tolist() == [[[[1, 1, 1]]]]
    assert build.halve(np.full((1, 4, 4, 3), 255, np.uint8)).min() == 255


def test_a_missing_source_is_refused(monkeypatch, capsys):
    monkeypatch.delenv("VL_DATA", raising=False)
    with pytest.raises(SystemExit):
        build.main([])
    assert "--source" in capsys.readouterr().err
