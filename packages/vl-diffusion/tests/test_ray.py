"""Rows that go through Ray come out with what the classifier says of each image alone."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image
from vl_diffusion import DiffusionClassifier, Staged
from vl_diffusion.runs.ray import COLUMNS, ClassifyBatch, classify_dataset

SEARCH = Staged((4, 8), (3, 1))


@pytest.fixture
def images():
    """Seven images of one size in color."""
    return np.random.default_rng(0).integers(0, 256, (7, 30, 28, 3), np.uint8)


@pytest.fixture
def classifier(pixel_dit_folder):
    return DiffusionClassifier.from_pretrained(pixel_dit_folder, search=SEARCH)


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def check(rows, images, classifier):
    """Each row says what the classifier says of its image, classified alone."""
    for row in rows:
        alone = classifier.classify(images[row["number"]])
        assert row["predicted"] == alone.predicted_classes[0]
        assert row["evaluations"] == alone.total_evaluations[0]
        np.testing.assert_allclose(row["errors"], alone.errors[0], rtol=1e-5)
        assert row["probability"] == pytest.approx(alone.probabilities[0].max(), rel=1e-2)
        assert row["margin"] == pytest.approx(alone.margins[0], rel=1e-2, abs=1e-7)


def as_rows(batch):
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


@pytest.mark.parametrize("form", ["arrays", "bytes", "different sizes"])
def test_a_batch_gains_what_the_classifier_says_of_each_image(form, images, classifier, pixel_dit_folder):
    column, cropped = images, list(images)
    if form == "different sizes":
        cropped = [image[: 20 + i] for i, image in enumerate(images)]
    if form != "arrays":
        column = np.empty(len(images), object)
        column[:] = [encoded(image) for image in images] if form == "bytes" else cropped
    batch = {"number": np.arange(7), "image": column}
    found = ClassifyBatch(pixel_dit_folder, image_column="image", search=SEARCH)(batch)
    assert list(found) == ["number", "image", *COLUMNS]
    assert found["errors"].shape == (7, 10)
    check(as_rows(found), cropped, classifier)


def test_a_model_may_be_an_object_with_classes_of_ones_own(images, classifier, pixel_dit_folder):
    some = ("cat", "dog")
    found = ClassifyBatch(classifier.denoiser, some, search=SEARCH)({"image": images})
    assert set(found["predicted"]) <= set(some)
    assert found["errors"].shape == (7, 2)


def test_rows_that_will_not_do_are_named(images, pixel_dit_folder):
    classify = ClassifyBatch(pixel_dit_folder, search=SEARCH)
    with pytest.raises(ValueError, match="image_column must be one of photo, got 'image'"):
        classify({"photo": images})
    with pytest.raises(ValueError, match="columns predicted must not exist"):
        classify({"image": images, "predicted": np.zeros(7)})
    broken = np.empty(2, object)
    broken[:] = [encoded(images[0]), b"no image"]
    with pytest.raises(ValueError, match="row 1 of the batch"):
        ClassifyBatch(pixel_dit_folder, search=SEARCH, strict=True)({"image": broken})


def test_an_unreadable_image_costs_its_own_row_only(images, classifier, pixel_dit_folder):
    broken = np.empty(5, object)
    broken[:] = [encoded(images[0]), b"no image", b"", images[3] / 2, encoded(images[4])]
    found = ClassifyBatch(pixel_dit_folder, search=SEARCH)({"number": np.arange(5), "image": broken})
    rows = as_rows(found)
    check([rows[0], rows[4]], images, classifier)
    assert [row["unreadable"] == "" for row in rows] == [True, False, False, False, True]
    assert "row 1 of the batch is not an image in a known format" in rows[1]["unreadable"]
    assert "must lie in [0, 1]" in rows[3]["unreadable"] or "must have shape" in rows[3]["unreadable"]
    assert [row["predicted"] for row in rows[1:4]] == [""] * 3
    assert [row["evaluations"] for row in rows[1:4]] == [0] * 3
    assert np.isnan(found["errors"][1:4]).all()
    assert np.isnan(found["margin"][1:4]).all()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ModuleNotFoundError, match=r"ray is not installed; .*'vl-diffusion\[ray\]'"):
        classify_dataset(None, "fashion")


@pytest.mark.ray
# Ray sets a deprecated option of its own, and leaves files to the garbage collector.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_two_workers_say_what_one_process_says(images, classifier, pixel_dit_folder, monkeypatch):
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        monkeypatch.setenv(name, "0")
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        items = [{"number": i, "image": image} for i, image in enumerate(images)]
        rows = ray.data.from_items(items, override_num_blocks=3)
        found = classify_dataset(rows, str(pixel_dit_folder), concurrency=2, rows_per_batch=2, search=SEARCH).take_all()
        assert sorted(row["number"] for row in found) == list(range(7))
        check(found, images, classifier)
    finally:
        ray.shutdown()
