"""The state of a run is that of its rows, whatever else the store holds."""

from __future__ import annotations

import json

import pytest
from explorer_page_store import PLANNED, QUERIES, RESULTS, advance, concept_reward, fill, search, url_of
from vl_explorer.page.state import find_run, run_state
from vl_explorer.store.counts import QueryCounts, ResultCounts
from vl_explorer.store.store import Store


def test_progress_counts_what_is_done_and_what_is_at_work(store):
    state = run_state(store)
    assert (state.name, state.finished, state.planned, state.complete) == ("birds", 2, PLANNED, False)
    assert [row.number for row in state.iterations] == [0, 1, 2]
    assert state.iterations[0].queries == QueryCounts(searched=2, dropped=1, requests=6, cost=1.5)
    assert state.current == state.iterations[2]
    assert state.current.queries == QueryCounts(open=2, searched=1, requests=2, cost=0.5)
    assert state.current_results == ResultCounts(results=3, images=2, failed=1)
    assert (state.images, state.refused, state.requests, state.cost) == (12, 6, 14, 3.5)
    assert (state.stored_images, state.stored_bytes) == (14, store.bytes_on_disk())
    assert state.refusals == {"robots": 4, "dns": 3}
    assert list(state.summaries) == [0, 1]


def test_concepts_have_their_latest_reward_and_all_their_images(store):
    first, second, third = run_state(store).concepts
    assert (first.concept, first.reward, first.iteration) == ("again", concept_reward(1, 0), 1)
    assert first.images == 6  # two of each iteration, the one at work among them
    assert (second.concept, second.reward, second.images) == ("concept 1 1", concept_reward(1, 1), 2)
    assert third.concept == "concept 0 1"
    assert [concept.concept for concept in run_state(store, concepts=2).concepts] == ["again", "concept 1 1"]


def test_the_wall_holds_the_best_images_with_their_source(store):
    wall = run_state(store, images=3).wall
    numbers = [number for number in range(2 * QUERIES * RESULTS) if number % RESULTS != RESULTS - 1]
    best = sorted(numbers, reverse=True)[:3]
    assert [(image.source.url, image.reward) for image in wall] == [(url_of(n), (n + 1) / 100) for n in best]
    assert [(image.license_id, image.sources, image.width, image.height) for image in wall] == [
        ("CC-BY-4.0", 1, 48, 32)
    ] * 3
    assert wall[0].source.query == f"query {best[0] // RESULTS}"


def test_secrets_stay_out_and_the_state_is_json(store):
    state = run_state(store)
    assert set(state.settings) == {"iterations", "seed", "target"}
    assert "hush" not in json.dumps(state.to_json())


def test_secrets_and_folders_within_settings_stay_out(tmp_path):
    engine = {"name": "museum", "api_key": "hush", "parts": [{"password": "hush", "size": 2}, "plain"]}
    with Store(tmp_path) as store:
        store.add_run("birds", {"engine": engine, "source": str(tmp_path / "birds"), "world": "full"})
        settings = run_state(store).settings
    shown = {"name": "museum", "parts": [{"size": 2}, "plain"]}
    assert settings == {"engine": shown, "source": "birds", "world": "full"}


def test_a_run_is_complete_once_its_iterations_are(store):
    run = find_run(store, "birds")
    for iteration in range(2, PLANNED):
        assert not run_state(store).complete
        advance(store, run.id, iteration)
    state = run_state(store)
    assert state.complete
    assert state.current is state.current_results is None


def test_other_runs_of_the_store_are_left_out(store):
    before = run_state(store)
    other = store.add_run("other", {"iterations": 1})
    search(store, other.id, 0)
    after = run_state(store, "birds")
    assert (after.concepts, after.wall, after.iterations) == (before.concepts, before.wall, before.iterations)
    assert run_state(store, "other").finished == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: run_state(s, "herons"), r"name of a run of .* \('birds'\), got 'herons'; choose one"),
        (lambda s: (s.add_run("fish"), run_state(s)), r"\('birds', 'fish'\), got None; choose one"),
        (lambda s: run_state(s, images=-1), "must be at least 0, got 20 and -1"),
        (lambda s: (s.finish_iteration(1, 2, {"rewards": 3}), run_state(s)), "summary of iteration 2 must have"),
    ],
)
def test_refused(store, call, words):
    with pytest.raises(ValueError, match=words):
        call(store)


def test_a_store_without_runs_says_how_to_start_one(tmp_path):
    with Store(tmp_path) as store, pytest.raises(ValueError, match="must hold a run, got none; start one with"):
        find_run(store)


def test_a_run_without_a_plan_or_an_image_has_a_state(tmp_path):
    with Store(tmp_path) as store:
        store.add_run("new")
        state = run_state(store)
        assert (state.planned, state.current, state.wall, state.last_image_at) == (None, None, (), None)
        fill(store, "plan")
        assert run_state(store, "plan").last_image_at is not None
