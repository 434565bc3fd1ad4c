import numpy as np
import pytest
from vl_explorer.worlds.clusters import ClusterWorld, harmonic


def uniform(world: ClusterWorld, seed: int, replacement: bool) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if replacement:
        return generator.integers(0, len(world), 60 * len(world))
    return generator.permutation(len(world))


@pytest.mark.parametrize("replacement", [False, True])
def test_uniform_draws_find_all_after_the_expected_number(replacement):
    world = ClusterWorld(60, 12, 2)
    found = np.array([world.found(uniform(world, seed, replacement)) for seed in range(400)])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (abs(found.mean(axis=0) - world.expected_uniform(replacement=replacement)) < 4 * error).all()


def test_lemma_in_closed_form():
    touched, complete = ClusterWorld(600, 60, 3).expected_uniform(replacement=True)
    assert touched == pytest.approx(600 / 10 * (1 + 1 / 2 + 1 / 3))
    assert complete == pytest.approx(600 * sum(1 / k for k in range(1, 31)))
    assert harmonic(1) == 1


def test_found_counts_queries_to_the_first_and_the_last_concept():
    world = ClusterWorld(12, 4, 2)
    one, other = (np.flatnonzero(world.cluster_of == cluster) for cluster in world.relevant)
    order = [one[0], one[0], one[1], other[0], one[2], other[1], other[2]]
    assert world.found(order) == (4, 7)
    assert world.found(order[:-1]) == (4, -1)
    assert world.found(order[:3]) == (-1, -1)


def test_clusters_are_nearer_than_others_and_rewards_are_theirs():
    world = ClusterWorld(2000, 20, 3, noise=0.0)
    assert world.rewards(np.arange(len(world))).sum() == 3 * world.size
    np.testing.assert_allclose(np.linalg.norm(world.embeddings, axis=1), 1, rtol=1e-6)
    same = world.cluster_of[:200, None] == world.cluster_of[:200]
    cosines = world.embeddings[:200] @ world.embeddings[:200].T
    assert cosines[same].min() > np.quantile(cosines[~same], 0.99)
    assert np.bincount(world.cluster_of).tolist() == [100] * 20


def test_worlds_are_functions_of_their_seed():
    first, again, other = (ClusterWorld(100, 10, 2, seed=seed) for seed in (3, 3, 4))
    assert (first.embeddings == again.embeddings).all()
    assert (first.rewards([5]) == again.rewards([5])).all()
    assert (first.embeddings != other.embeddings).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concepts": 10, "clusters": 3}, "concepts must be a multiple of clusters, 3, got 10"),
        ({"clusters": 0}, "concepts must be a multiple"),
        ({"relevant": 0}, "relevant must be in 1..1000"),
        ({"dimensions": 1}, "dimensions must be at least 2, got 1"),
        ({"noise": -1.0}, "noise must be a number of at least 0, got -1.0"),
        ({"spread": float("nan")}, "spread must be a number"),
    ],
)
def test_impossible_worlds_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClusterWorld(**arguments)


def test_rewards_of_other_concepts_are_refused():
    with pytest.raises(ValueError, match=r"indices must be in 0\.\.9"):
        ClusterWorld(10, 5, 1).rewards([10])
