"""Perceptual hashes, what they say of two images, and what flat images do not say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from explorer_store import drawn, encoded
from PIL import Image
from vl_explorer.store.likeness.duplicates import Fingerprint, NearDuplicates, fingerprint
from vl_explorer.store.likeness.filters import HashList, first_reason
from vl_explorer.store.likeness.hashing import DISTANCE, QUALITY, HashIndex, PerceptualHash, hamming, perceptual_hash
from vl_explorer.store.likeness.leak_guard import LeakGuard

FLAT = Image.new("RGB", (64, 64), "navy")


def mean_color(image):
    """Features that tell images of different colors apart."""
    return np.asarray(image.convert("RGB"), np.float64).mean((0, 1)) - 100


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((90, 90), Image.Resampling.BICUBIC),
        lambda image: image.resize((300, 300), Image.Resampling.LANCZOS),
        lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))),
        lambda image: image.convert("L"),
        lambda image: image.point(lambda value: int(20 + 0.8 * value)),
        lambda image: image.convert("RGBA"),
    ],
    ids=["smaller", "larger", "compressed", "gray", "contrast", "transparent"],
)
def test_versions_of_an_image_have_near_hashes(change):
    for number in range(5):
        image = drawn(number, 160)
        assert hamming(perceptual_hash(image), perceptual_hash(change(image))) <= DISTANCE


def test_other_images_are_far_and_flat_ones_are_poor():
    hashes = [perceptual_hash(drawn(number)) for number in range(12)]
    distances = [hamming(a, b) for place, a in enumerate(hashes) for b in hashes[:place]]
    assert min(distances) > 2 * DISTANCE
    assert 110 < np.mean(distances) < 146
    assert min(found.quality for found in hashes) >= QUALITY
    assert perceptual_hash(FLAT).quality < QUALITY
    assert perceptual_hash(Image.new("L", (1, 1))).quality < QUALITY


def test_the_index_finds_what_a_loop_finds():
    generator = np.random.default_rng(0)
    center = generator.bytes(32)
    flips = np.packbits(generator.random((100, 256)) < np.linspace(0, 0.5, 100)[:, None], axis=1)
    hashes = [PerceptualHash(bytes(np.frombuffer(center, np.uint8) ^ flip), 100) for flip in flips]
    sought = PerceptualHash(center, 100)
    expected = sorted((hamming(sought, found), place) for place, found in enumerate(hashes))
    index = HashIndex(hashes)
    assert len(index) == 100
    assert index.near(sought, 70) == [(place, distance) for distance, place in expected if distance <= 70]
    assert HashIndex().near(sought, 255) == []
    assert PerceptualHash.from_hex(sought.hex).bits == center


def test_near_duplicates_need_the_hash_and_the_features():
    image = drawn(1)
    gray = image.convert("L").convert("RGB")  # the same layout, without its color
    by_hash, by_both = NearDuplicates(), NearDuplicates(mean_color, cosine=0.99)
    for duplicates in (by_hash, by_both):
        assert duplicates.add("first", fingerprint(image, duplicates.embed))
        assert duplicates(image.resize((200, 200))) == "duplicate"
        assert duplicates(drawn(2)) is None
    match = by_hash.find(fingerprint(gray))
    assert (match.key, match.cosine) == ("first", None)
    tinted = Image.merge(
        "RGB", [band.point(lambda v, k=k: int(v * k)) for band, k in zip(gray.split(), (1, 0.2, 0.1), strict=True)]
    )
    assert by_hash(tinted) == "duplicate"
    assert by_both(tinted) is None
    solid = Fingerprint(PerceptualHash(fingerprint(image).hash.bits, 100), fingerprint(tinted, mean_color).embedding)
    by_both.add("second", solid)
    assert by_both.find(fingerprint(tinted, mean_color)).key == "second"  # though another one is as near by hash


def test_features_are_made_where_hashes_are_near_alone():
    embedded, images = [], {number: drawn(number) for number in range(4)}

    def embed(image):
        embedded.append(image)
        return mean_color(image)

    duplicates = NearDuplicates(embed, load=images.get)
    for number, image in images.items():
        duplicates.add(number, Fingerprint(perceptual_hash(image)))
    assert duplicates.find_image(drawn(9)) is None
    assert embedded == []
    for _ in range(2):
        assert duplicates.find_image(drawn(2)).key == 2
    assert embedded[1] is images[2]
    assert len(embedded) == 3  # the features of what is there are kept
    del images[1]
    assert duplicates.find_image(drawn(1)) is None


def test_flat_images_are_evidence_of_nothing():
    duplicates = NearDuplicates()
    assert not duplicates.add("flat", fingerprint(FLAT))
    assert len(duplicates) == 0
    assert duplicates(FLAT) is None
    assert HashList([perceptual_hash(FLAT).hex])(FLAT) is None


def test_the_guard_catches_versions_of_test_images_and_says_which():
    guard = LeakGuard([drawn(1), FLAT, drawn(2)], mean_color, cosine=0.9)
    offered = [drawn(2).resize((99, 99)), drawn(3), drawn(1), FLAT, drawn(2)]
    assert [guard(image) for image in offered] == ["leak", None, "leak", None, "leak"]
    report = guard.report()
    assert [match.key for match in report.caught] == [2, 0, 2]
    assert (report.guarded, report.unguarded, report.looked_at) == (2, (1,), 5)
    assert str(report) == (
        "3 of 5 images kept out as versions of 2 of 2 guarded test images; 1 test images are too flat to be guarded"
    )


def test_the_guard_needs_the_features_to_agree():
    guard = LeakGuard([drawn(1)], lambda image: [1.0, 0.0] if image.size == (48, 48) else [0.0, 1.0])
    assert guard(drawn(1)) == "leak"
    assert guard(drawn(1).resize((64, 64))) is None


def test_filters_are_asked_in_order_until_one_objects(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"# hashes\n{perceptual_hash(drawn(1)).hex},harmful\n\n")
    listed = HashList.read(path, reason="harmful")
    asked = []

    def ask(image):
        asked.append(image)

    assert len(listed) == 1
    assert first_reason(drawn(1), [ask, listed, ask]) == "harmful"
    assert first_reason(drawn(2), [ask, listed, ask]) is None
    assert len(asked) == 3


@pytest.mark.parametrize("answer", [True, False, ""])
def test_a_filter_must_give_a_reason_or_none(answer):
    def classify(image):
        return answer

    with pytest.raises(TypeError, match=f"filter classify must return a word .* or None to let it in, got {answer!r}"):
        first_reason(drawn(1), [classify])
