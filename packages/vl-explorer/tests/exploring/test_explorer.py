"""The loop: what it searches, keeps, trains on, and takes up again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from explorer_loop import (
    IMAGES,
    RELEVANT,
    SETTINGS,
    WORDS,
    Colors,
    Counting,
    Means,
    colored,
    engine,
    explorer,
    model,
    relevant,
    vocabulary,
)
from PIL import Image
from vl_core.files import read_json
from vl_explorer.exploring.explorer import Explorer
from vl_explorer.exploring.gathering import Scorer
from vl_explorer.learning.learner import FixedLearner
from vl_explorer.models.acquisition import uniform
from vl_explorer.rewards.images import concept_reward
from vl_explorer.search.engine import SearchError, SearchPage
from vl_explorer.store.rows import QueryState
from vl_explorer.store.store import Store
from vl_explorer.web.reasons import Reason, Refused


def shares(run):
    """Share of relevant results of each iteration."""
    queries = [run.store.queries(run.run_id, iteration) for iteration in range(SETTINGS.iterations)]
    return [np.mean([relevant(run.store, query) for query in own]) for own in queries]


def test_the_search_turns_to_what_looks_like_the_target(tmp_path):
    with explorer(tmp_path / "guided") as guided, explorer(tmp_path / "random", acquisition=uniform) as random:
        guided.run(progress=False)
        random.run(progress=False)
        assert np.mean(shares(guided)[1:]) > 1.5 * RELEVANT / WORDS
        assert np.mean(shares(guided)[1:]) > np.mean(shares(random)[1:])


def test_rewards_are_mean_cosines_and_means_of_the_best(tmp_path):
    with explorer(tmp_path, settings=replace(SETTINGS, iterations=1), learner=FixedLearner(Means())) as run:
        (summary,) = run.run(progress=False)
        stored = run.store.rewards(run.run_id)
        scorer = Scorer(Means(), run.target, SETTINGS.neighbors)
        for query, reward in zip(run.store.queries(run.run_id), summary.concept_rewards, strict=True):
            results = run.store.results(query.id)
            expected = scorer.score([run.engine.image(result.url) for result in results])
            assert np.array([stored[result.image] for result in results]) == pytest.approx(expected, abs=1e-12)
            assert reward == pytest.approx(concept_reward(expected, top=SETTINGS.top), abs=1e-12)
        values = sorted(stored.values())
        assert summary.image_reward == pytest.approx(np.mean(values), abs=1e-12)
        assert summary.best_reward == pytest.approx(np.mean(values[-3:]), abs=1e-12)
        assert (summary.found, summary.new, summary.refused, summary.dropped) == (30, 30, 0, 0)
        source = run.store.sources(results[0].image)[0]
        assert (source.url, source.query, source.engine) == (results[0].url, query.text, "colors")


def test_contrast_is_with_the_images_of_the_first_iteration(tmp_path):
    settings = replace(SETTINGS, iterations=2, contrast=0.5)
    with explorer(tmp_path, settings=settings, learner=FixedLearner(Means())) as run:
        summaries = run.run(progress=False)
        assert [summary.encoder for summary in summaries] == ["means-0", "means-0 with contrast"]
        stored = run.store.rewards(run.run_id)
        first = run._first_images()
        assert len(first) == summaries[0].found
        background = [Image.open(run.store.path(digest)) for digest in first]
        scorer = Scorer(Means(), run.target, SETTINGS.neighbors, background, 0.5)
        expected = scorer.score([Image.open(run.store.path(digest)) for digest in stored])
        # Those of the first iteration have been scored again.
        assert np.array(list(stored.values())) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("overlap", "contrast"), [(True, 0.0), (False, 0.0), (True, 0.5)])
def test_a_run_that_is_taken_up_equals_one_that_was_not(tmp_path, overlap, contrast):
    settings = replace(SETTINGS, overlap=overlap, contrast=contrast)
    with (
        explorer(tmp_path / "whole", settings=settings) as whole,
        explorer(tmp_path / "parts", settings=replace(settings, iterations=1)) as first,
    ):
        expected = whole.run(progress=False)
        first.run(progress=False)
    for iterations in (2, 4):
        with explorer(tmp_path / "parts", settings=replace(settings, iterations=iterations)) as run:
            found = run.run(progress=False)
    assert found == expected
    assert [summary.trained for summary in found] == ([0, 0, 1, 2] if overlap else [0, 1, 2, 3])
    assert run.learner.updates == 4
    with Store(tmp_path / "whole") as one, Store(tmp_path / "parts") as other:
        assert one.content() == other.content()
        assert other.faults(contents=True) == []


def test_a_finished_run_is_read_and_not_run_again(tmp_path):
    with explorer(tmp_path) as run:
        expected = run.run(progress=False)
    with explorer(tmp_path, learner=(learner := Counting())) as again:
        assert again.run(progress=False) == expected
    assert learner.shown == {}


def test_training_sees_new_images_and_twice_as_many_of_the_past(tmp_path):
    with explorer(tmp_path, learner=(learner := Counting())) as run:
        summaries = run.run(progress=False)
        first, second = learner.shown[1], learner.shown[2]
        # After the first iteration there is nothing to replay but the target.
        assert len(first) == summaries[0].new + min(2 * summaries[0].new, len(run.target))
        assert sum(name.startswith("target:") for name in first) == len(run.target)
        replayed = [name for name in second if not name.startswith("target:")][summaries[1].new :]
        assert len(second) == summaries[1].new + min(2 * summaries[1].new, SETTINGS.replay_capacity + len(run.target))
        assert set(replayed) <= set(first)


def test_kept_trains_on_the_best_new_images_alone(tmp_path):
    settings = replace(SETTINGS, iterations=1, kept=0.5, past_ratio=0)
    with explorer(tmp_path, learner=(learner := Counting()), settings=settings) as run:
        run.run(progress=False)
        rewards = run.store.rewards(run.run_id)
    assert learner.shown[1] == list(rewards)[: len(rewards) // 2]


def test_adaptation_shows_the_target_first(tmp_path):
    settings = replace(SETTINGS, iterations=1, adapt=True)
    with explorer(tmp_path, learner=(learner := Counting()), settings=settings) as run:
        (summary,) = run.run(progress=False)
    assert learner.shown[0] == [f"target:{place}" for place in range(8)]
    assert summary.trained == 1


def test_rewards_follow_the_encoder(tmp_path):
    with explorer(tmp_path / "follow") as run:
        run.run(progress=False)
        last = Means(2)  # that of the last iteration, which the training on the one before overlaps
        stored = run.store.rewards(run.run_id)
        results = [result for query in run.store.queries(run.run_id) for result in run.store.results(query.id)]
        expected = Scorer(last, run.target, SETTINGS.neighbors).score(
            [run.engine.image(result.url) for result in results]
        )
        assert np.array([stored[result.image] for result in results]) == pytest.approx(expected, abs=1e-12)
        earned = run.store.query_rewards(run.run_id, top=SETTINGS.top)
        assert run.model.observations.rewards.tolist() == [
            earned[query.id][1] for query in run.store.queries(run.run_id)
        ]


def test_hopeless_queries_are_dropped_after_their_scouts(tmp_path):
    settings = replace(SETTINGS, scouts=2, hopeless=1.0)
    with explorer(tmp_path, settings=settings) as run:
        summaries = run.run(progress=False)
        dropped = [query for query in run.store.queries(run.run_id) if query.state is QueryState.DROPPED]
        assert summaries[0].dropped == 0
        assert len(dropped) == sum(summary.dropped for summary in summaries) > 0
        for query in dropped:
            images = [result.image is not None for result in run.store.results(query.id)]
            assert images == [True] * 2 + [False] * (IMAGES - 2)


def test_versions_of_an_image_earn_nothing(tmp_path):
    class Pairs(Colors):
        """A web in which every second image is a slightly brighter version of the one before."""

        def __getitem__(self, place):
            fields = Image.frombytes("RGB", (16, 16), Random(place // 2).randbytes(3 * 16 * 16))
            image = fields.resize((64, 64), Image.Resampling.BICUBIC)
            return image.point(lambda value: min(255, value + place % 2)), 0

    with explorer(tmp_path, web=Pairs(), deduplicate=True, settings=replace(SETTINGS, iterations=2)) as run:
        summaries = run.run(progress=False)
        assert len(run.store.images()) == 2 * len(run.store.rewards(run.run_id)) > 0
        assert sum(summary.new for summary in summaries) == len(run.store.rewards(run.run_id))


def test_labels_are_searched_first_and_teach_the_model_nothing(tmp_path):
    settings = replace(SETTINGS, iterations=2, label_share=0.4)
    with explorer(tmp_path, settings=settings, labels=["word01", "word02", "word03"]) as run:
        run.run(progress=False)
        asked = [[query.text for query in run.store.queries(run.run_id, iteration)] for iteration in range(2)]
        assert asked[0][:2] == ["word01", "word02"]
        assert asked[1][0] == "word03"
        assert len(run.model.observations) == 2 * SETTINGS.queries - 3


def test_the_first_iteration_may_have_more_queries(tmp_path):
    settings = replace(SETTINGS, iterations=3, opening=8, repeat_concepts=True)
    labels = [f"label{number}" for number in range(6)]
    with explorer(tmp_path, settings=settings, learner=FixedLearner(Means()), labels=labels) as run:
        run.run(progress=False)
        asked = [[query.concept for query in run.store.queries(run.run_id, number)] for number in range(3)]
    assert [len(concepts) for concepts in asked] == [settings.queries_of(number) for number in range(3)] == [8, 5, 5]
    assert settings.searches == 18
    # Half of an iteration is labels, each iteration from where the one before ended.
    first = [concept for concepts in asked for concept in concepts if "label" in concept]
    assert [concept[-1] for concept in first] == list("01234501")


def test_the_run_ends_when_every_concept_was_searched_for(tmp_path):
    with explorer(tmp_path, settings=replace(SETTINGS, iterations=9, queries=30)) as run:
        assert [summary.found for summary in run.run(progress=False)] == [30 * IMAGES, 10 * IMAGES]
        assert all(iteration.finished for iteration in run.store.iterations(run.run_id))


def test_an_engine_that_answers_nothing_stops_the_run_and_loses_nothing(tmp_path):
    with explorer(tmp_path) as run:
        search, asked = run.engine.search, []

        async def spent(query, count):
            asked.append(query)
            if len(asked) > 12:
                raise SearchError("spent", "the budget of 12 requests is spent")
            return await search(query, count)

        run.engine.search = spent
        with pytest.raises(SearchError, match="budget"):
            run.run(progress=False)
        assert len(run.summaries()) == 2
    with explorer(tmp_path) as resumed, explorer(tmp_path / "whole") as whole:
        assert resumed.run(progress=False) == whole.run(progress=False)


def test_the_same_explorer_goes_on_as_a_new_one_would(tmp_path):
    settings = replace(SETTINGS, iterations=2)
    with explorer(tmp_path / "parts", settings=settings) as run, explorer(tmp_path / "whole", settings=settings) as one:
        search, asked = run.engine.search, []

        async def spent(query, count):
            asked.append(query)
            if len(asked) == 7:
                raise SearchError("spent", "the budget of 6 requests is spent")
            return await search(query, count)

        run.engine.search = spent
        with pytest.raises(SearchError, match="budget"):
            run.run(progress=False)
        assert run.run(progress=False) == one.run(progress=False)
        assert run.store.content() == one.store.content()


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (SearchError("unreachable", "no answer", SearchPage((), False, 4, 0.5)), (4, 0.5)),
        (ValueError("query must be printable"), (0, 0)),
    ],
)
def test_one_failed_query_is_passed_over(tmp_path, error, spent):
    with explorer(tmp_path, settings=replace(SETTINGS, iterations=1)) as run:
        search = run.engine.search

        async def flaky(query, count):
            if query == run.store.queries(run.run_id)[0].text:
                raise error
            return await search(query, count)

        run.engine.search = flaky
        (summary,) = run.run(progress=False)
        assert summary.concept_rewards[0] is None
        assert all(reward is not None for reward in summary.concept_rewards[1:])
        assert (summary.requests, summary.cost) == spent
        assert run.store.queries(run.run_id)[0].state is QueryState.FAILED


def test_a_query_that_fails_late_goes_on_with_what_was_found(tmp_path):
    with explorer(tmp_path, settings=replace(SETTINGS, iterations=1)) as run:
        search = run.engine.search

        async def late(query, count):
            page = await search(query, count)
            raise SearchError("unreachable", "no answer", SearchPage(page.results[:3], False, 2, 0.5))

        run.engine.search = late
        (summary,) = run.run(progress=False)
        queries = run.store.queries(run.run_id)
        assert summary.found == 3 * len(queries)
        assert (summary.requests, summary.cost) == (2 * len(queries), 0.5 * len(queries))
        assert {query.state for query in queries} == {QueryState.SEARCHED}


def test_more_results_than_asked_for_are_left_and_an_iteration_without_rewards_is_told_of(tmp_path, caplog):
    settings = replace(SETTINGS, iterations=1, queries=1, results=2)
    with explorer(tmp_path, settings=settings) as run:
        search = run.engine.search
        run.engine.search = lambda query, count: search(query, IMAGES)
        run._fetcher.fetch = gone
        (summary,) = run.run(progress=False)
    assert (summary.found, summary.refused) == (0, 2)
    assert "brought 2 images with a reward" in caplog.text


async def gone(url):
    return Refused(url, Reason.status, "404")


def test_accuracy_is_that_of_the_scoring_encoder(tmp_path):
    seen = []

    def evaluate(encoder):
        seen.append(encoder.name)
        return len(seen) / 10

    with explorer(tmp_path, evaluate=evaluate) as run:
        accuracies = [summary.accuracy for summary in run.run(progress=False)]
    assert seen == ["means-0", "means-1", "means-2"]
    assert accuracies == [0.1, 0.1, 0.2, 0.3]


def test_the_list_of_training_images_is_kept_beside_the_stage(tmp_path):
    with explorer(tmp_path, learner=(learner := Counting())) as run:
        run.run(progress=False)
    stages = sorted(path.name for path in (tmp_path / "learner").iterdir() if path.is_dir())
    assert stages == ["0003", "0004"]
    assert read_json(tmp_path / "learner" / "0004-images.json", list) == learner.shown[4]


def test_a_training_that_failed_is_begun_anew(tmp_path):
    class Failing(Counting):
        def train(self, *arguments, **options):
            self.updates += 7
            raise MemoryError

    with explorer(tmp_path, learner=(learner := Failing())) as run:
        run._stages.restore(0)
        (tmp_path / "learner" / "0001-images.json").write_text('["target:0", "target:1"]')
        with pytest.raises(MemoryError):
            run._stages.advance(1)
        run._stages.restore(0)
        assert learner.updates == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None, "vocabulary": 3}, "embeddings|model must be over"),
        ({"target": []}, "target must hold at least one image"),
        ({"target": ["a.png"]}, "target must hold PIL images"),
        ({"engine": "web"}, "downloader must be given for the engine web"),
        ({"labels": "heron"}, "labels must be a list of names, got the text 'heron'"),
        ({"labels": ["heron", " "]}, "labels must be different names, none of them empty"),
        ({"licenses": ["CC-BYE"]}, "allow must hold classes"),
    ],
)
def test_what_cannot_be_explored_is_refused(tmp_path, options, message):
    class Web:
        name = "web"

    words = vocabulary()[: options["vocabulary"]] if "vocabulary" in options else vocabulary()
    chosen = Web() if "engine" in options else engine()
    target = options.get("target", [colored(0, 0)] * 3)
    others = {name: options[name] for name in ("labels", "licenses") if name in options}
    with pytest.raises((TypeError, ValueError), match=message):
        Explorer(target, words, chosen, Counting(), out=tmp_path, model=model(), settings=SETTINGS, **others)


def test_a_run_with_other_settings_and_a_lost_learner_are_refused(tmp_path):
    with explorer(tmp_path) as run:
        run.run(progress=False)
    with pytest.raises(ValueError, match="must have the settings that it began with"):
        explorer(tmp_path, settings=replace(SETTINGS, ratio=2.0))
    with pytest.raises(ValueError, match=r"target_digest .* and not"):
        Explorer(
            [colored(1, 0)] * 8,
            vocabulary(),
            engine(),
            Counting(),
            out=tmp_path,
            settings=SETTINGS,
            model=model(),
            deduplicate=False,
        )
    with pytest.raises(ValueError, match=r"without the learner of another run, got .* with that of 'run'"):
        explorer(tmp_path, name="other", settings=replace(SETTINGS, ratio=2.0))
    with pytest.raises(ValueError, match="must go on in the folder that it began with"):
        explorer(tmp_path / "elsewhere", store=tmp_path)
    for state in (tmp_path / "learner").glob("*/learner.json"):
        state.unlink()
    with (
        pytest.raises(FileNotFoundError, match="must hold the learner after 3 iterations"),
        explorer(tmp_path) as lost,
    ):
        lost.run(progress=False)


def test_a_running_loop_is_told_what_to_write(tmp_path):
    async def notebook(run):
        with pytest.raises(RuntimeError, match=r"await explorer\.explore\(\)"):
            run.run()

    with explorer(tmp_path) as run:
        asyncio.run(notebook(run))


def test_few_target_images_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="target has 8 images, fewer than neighbors=15"):
        explorer(tmp_path, settings=replace(SETTINGS, neighbors=15)).close()
