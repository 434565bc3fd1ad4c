"""Rewards are those of explicit loops, whatever the blocks; the separation is 0.5 of equals and 1 of strangers."""

from __future__ import annotations

import numpy as np
import pytest
from vl_explorer.rewards import images
from vl_explorer.rewards.images import concept_reward, contrast_rewards, image_rewards
from vl_explorer.rewards.separation import auroc, separation


def rows(count: int, seed: int, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width))


@pytest.mark.parametrize("cells", [1, 100, 1 << 22])
def test_rewards_are_mean_cosines_to_the_nearest_in_blocks_of_any_size(monkeypatch, cells):
    monkeypatch.setattr(images, "_CELLS", cells)
    found, target = rows(11, 0).astype(np.float32), rows(7, 1)
    expected = []
    for one in found.astype(np.float64):
        cosines = [one @ other / np.linalg.norm(one) / np.linalg.norm(other) for other in target]
        expected.append(np.mean(sorted(cosines)[-3:]))
    rewards = image_rewards(found, target, neighbors=3)
    assert rewards.dtype == np.float64
    np.testing.assert_allclose(rewards, expected, rtol=1e-12)


def test_rewards_depend_on_directions_alone_even_of_tiny_and_huge_rows():
    found, target = rows(5, 0), rows(4, 1)
    scaled = found * np.array([1e-300, 1e-30, 1, 1e30, 1e300])[:, None]
    np.testing.assert_allclose(
        image_rewards(scaled, 7 * target, neighbors=2), image_rewards(found, target, neighbors=2), rtol=1e-12
    )


def test_few_target_images_count_all_and_are_warned_of():
    found, target = rows(5, 0), rows(4, 1)
    with pytest.warns(UserWarning, match="target has 4 images, fewer than neighbors=15: .* the mean cosine to all"):
        rewards = image_rewards(found, target)
    np.testing.assert_array_equal(rewards, image_rewards(found, target, neighbors=4))


def test_contrast_takes_off_the_likeness_to_a_background_beyond_its_own():
    found, background = rows(9, 0), rows(6, 1)
    units, others = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (found, background))
    near = [np.mean(sorted(one @ other for other in others)[-3:]) for one in units]
    usual = np.mean(
        [np.mean(sorted(one @ other for n, other in enumerate(others) if n != m)[-3:]) for m, one in enumerate(others)]
    )
    rewards = np.linspace(-1, 1, 9)
    found_rewards = contrast_rewards(rewards, found, background, weight=0.7, neighbors=3)
    np.testing.assert_allclose(found_rewards, rewards - 0.7 * (np.array(near) - usual), rtol=1e-12)
    for changes in ({"weight": 0.0}, {"background": background[:1]}):
        same = contrast_rewards(rewards, found, **{"background": background, **changes})
        np.testing.assert_array_equal(same, rewards)


def test_concept_reward_is_the_mean_of_the_best_whatever_their_order():
    rewards = np.random.default_rng(0).permutation(np.arange(20.0))
    assert concept_reward(rewards) == np.arange(10.0, 20).mean()
    assert concept_reward(rewards[:3], top=10) == rewards[:3].mean()
    assert concept_reward(rewards, top=1) == 19


def test_separation_is_a_half_of_equals_and_one_of_strangers():
    # Every target image is once on the other side, where it leaves out what it left out as a target image.
    target = rows(40, 3)
    same = separation(target, target, neighbors=5)
    assert same.auroc.estimate == 0.5
    assert not same.separates
    far = separation(np.abs(target), -np.abs(rows(90, 4)), neighbors=50)
    assert (far.auroc.estimate, far.auroc.low, far.separates) == (1.0, 1.0, True)
    assert (far.target_images, far.web_images, far.neighbors) == (40, 90, 39)


def test_separation_of_draws_from_one_distribution_covers_a_half():
    found = separation(rows(150, 5), rows(400, 6))
    assert found.auroc.low < 0.5 < found.auroc.high
    assert found == separation(rows(150, 5), rows(400, 6), seed=0)


def test_separation_says_in_a_line_what_to_do():
    target = rows(30, 0)
    poor, good = separation(target, rows(30, 1)), separation(np.abs(target), -np.abs(target))
    assert "tells the target from the web: AUROC 1.00 (1.00 to 1.00), 30 target images against 30" in str(good)
    assert "choose another start encoder" in str(poor)
    assert "\n" not in str(poor) + str(good)


def test_auroc_counts_pairs_and_halves_of_equals():
    positive, negative = np.array([0.0, 1, 1, 3]), np.array([0.0, 1, 2])
    wins = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auroc(positive, negative) == np.mean(wins)


ONES = np.ones((20, 3))
HOLED = np.where(np.arange(20)[:, None] == 4, np.nan, ONES)


@pytest.mark.parametrize(
    ("function", "arguments", "kind", "words"),
    [
        (image_rewards, {"features": ONES[:, :2]}, ValueError, "target must have 2 numbers a row like features, got 3"),
        (image_rewards, {"features": ONES[0]}, ValueError, r"features must have shape \(n, d\).* got \(3,\)"),
        (image_rewards, {"features": ONES[:0]}, ValueError, "features must have shape"),
        (image_rewards, {"target": ONES[:0]}, ValueError, "target must have shape"),
        (image_rewards, {"features": HOLED}, ValueError, "features must have finite rows .* not finite in row 4"),
        (image_rewards, {"target": HOLED}, ValueError, "target must have finite rows"),
        (image_rewards, {"features": 0 * ONES}, ValueError, r"got zeros in row 0 \(20 such rows\)"),
        (image_rewards, {"features": [["a"]]}, TypeError, "features must hold real numbers"),
        (image_rewards, {"neighbors": 0}, ValueError, "neighbors must be at least 1, got 0"),
        (separation, {"target_features": ONES[:2]}, ValueError, "target_features must have at least 3 rows, got 2"),
        (separation, {"web_features": HOLED}, ValueError, "web_features must have finite rows"),
        (separation, {"target_features": ONES[:, :2]}, ValueError, "target_features must have 3 numbers a row"),
        (concept_reward, {"image_rewards": []}, ValueError, "n at least 1, .* a query without images has no reward"),
        (concept_reward, {"image_rewards": [0.5, np.nan]}, ValueError, "must be finite, got nan"),
        (contrast_rewards, {"weight": -1.0}, ValueError, "weight must be a number of at least 0, got -1.0"),
        (
            contrast_rewards,
            {"background": ONES[:, :2]},
            ValueError,
            "background must have 3 numbers a row like features",
        ),
        (contrast_rewards, {"background": HOLED}, ValueError, "background must have finite rows"),
        (concept_reward, {"image_rewards": [0.5], "top": 0}, ValueError, "top must be at least 1, got 0"),
        (concept_reward, {"image_rewards": ["a"]}, TypeError, "image_rewards must hold real numbers"),
    ],
)
def test_what_is_no_reward_is_refused(function, arguments, kind, words):
    given = {
        image_rewards: {"features": ONES, "target": ONES},
        separation: {"target_features": ONES, "web_features": ONES},
        contrast_rewards: {"rewards": np.ones(20), "features": ONES, "background": ONES},
        concept_reward: {},
    }[function]
    with pytest.raises(kind, match=words):
        function(**given | arguments)
