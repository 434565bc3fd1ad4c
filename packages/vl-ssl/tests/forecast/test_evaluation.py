"""Rank correlations, runs that are held out by groups, and rows of runs from files."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from vl_ssl import AccuracyForecast, compare_forecasts, held_out, leave_one_out, read_runs, spearman
from vl_ssl.forecast.runs import column, configurations


def grouped_runs(configurations=8, seeds=2, seed=0):
    """Runs whose loss says nothing, and whose AUC says most."""
    generator = np.random.default_rng(seed)
    runs = []
    for width in range(configurations):
        auc, shift = generator.uniform(0.55, 0.75), 0.02 * generator.standard_normal()
        for number in range(seeds):
            noise = 0.01 * generator.standard_normal(3)
            runs.append(
                {
                    "width": width,
                    "seed": number,
                    "auc": auc + noise[0],
                    "loss": -0.9 + noise[1],
                    "rankme": 5 + 100 * (0.8 - auc),
                    "knn": 0.5 - (auc - 0.65) + shift + noise[2],
                }
            )
    return runs


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_rank_correlations_are_those_of_scipy_with_ties(decimals):
    generator = np.random.default_rng(decimals)
    first = generator.standard_normal((5, 20)).round(decimals)
    second = (first + generator.standard_normal((5, 20))).round(decimals)
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), expected, atol=1e-12)
    np.testing.assert_allclose(spearman(first.T, second.T, axis=0), expected, atol=1e-12)


def test_nothing_is_ranked_by_a_constant():
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0
    assert spearman([2.0], [5.0]) == 0


def test_each_group_is_predicted_from_the_others_alone():
    runs = grouped_runs()
    found = held_out(runs, groups=configurations(runs), repetitions=50)
    for number in (0, 5, 15):
        width = runs[number]["width"]
        others = [run for run in runs if run["width"] != width]
        forecast = AccuracyForecast().fit(others, groups=configurations(others))
        expected = forecast.predict([runs[number]])
        np.testing.assert_allclose([part[number] for part in found.forecast], np.concatenate(expected), atol=1e-12)
    assert found.groups.tolist() == [number // 2 for number in range(16)]
    assert found.spearman.estimate == pytest.approx(spearmanr(found.forecast.accuracy, found.measured).statistic)
    assert found.error.estimate == pytest.approx(np.abs(found.forecast.accuracy - found.measured).mean())
    assert found.spearman.low <= found.spearman.estimate <= found.spearman.high
    assert 0 <= found.coverage <= 1


def test_a_run_of_another_group_is_nothing_to_a_prediction_of_its_own():
    runs = grouped_runs()
    before = held_out(runs, groups=configurations(runs), repetitions=1).forecast.accuracy
    changed = [{**run, "knn": 0.99} if run["width"] == 3 else run for run in runs]
    after = held_out(changed, groups=configurations(runs), repetitions=1).forecast.accuracy
    assert (after[6:8] == before[6:8]).all()
    assert (np.delete(after, [6, 7]) != np.delete(before, [6, 7])).all()


def test_left_out_alone_a_useless_metric_ranks_runs_backwards():
    runs = [{**run, "loss": -1.0} for run in grouped_runs()]
    assert leave_one_out(runs, ("loss",), repetitions=10).spearman.estimate == pytest.approx(-1)


def test_forecast_and_baselines_stand_side_by_side():
    runs = grouped_runs()
    found = compare_forecasts(runs, groups=configurations(runs), repetitions=200)
    assert list(found) == ["AUC and loss", "loss alone", "RankMe alone", "AUC alone"]
    assert [own.features for own in found.values()] == [("auc", "loss"), ("loss",), ("rankme",), ("auc",)]
    assert found["AUC alone"].spearman.low > found["loss alone"].spearman.estimate


def test_configurations_forget_the_seed_alone():
    runs = [{"method": "simsiam", "seed": s, "width": w, "knn": 0.1 * s} for w in (8, 16) for s in (0, 1)]
    assert configurations(runs) == [("simsiam", "8"), ("simsiam", "8"), ("simsiam", "16"), ("simsiam", "16")]


def test_runs_are_read_from_a_file_or_its_folder(tmp_path):
    (tmp_path / "runs.csv").write_text("auc,knn,alarm_step\n0.5,0.25,\n0.75,0.5,300\n")
    assert read_runs(tmp_path) == read_runs(tmp_path / "runs.csv")
    assert column(read_runs(tmp_path), "knn").tolist() == [0.25, 0.5]


NAN = {"width": 9, "loss": -0.9, "rankme": float("nan"), "knn": 0.5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spearman([1, 2], [1, 2, 3]), "one shape"),
        (lambda: spearman([], []), "not be empty"),
        (lambda: spearman([1, np.nan], [1, 2]), "must be finite"),
        (lambda: held_out(grouped_runs(2), groups=[0, 0, 1, 1]), "groups must be at least three, got 2"),
        (lambda: compare_forecasts(grouped_runs(3, 1), groups=[0, 1, 2]), "at least 3 beside each group, got 2 beside"),
        (
            lambda: compare_forecasts([*grouped_runs(4), {**NAN, "auc": 0.6}], groups=None),
            "rankme of run 9 must be fin",
        ),
        (lambda: held_out(grouped_runs(), ("auc", "knn"), groups=None), "must not hold the accuracy .* got knn, which"),
        (lambda: held_out(grouped_runs(), groups=[0]), "one label for each of 16 runs"),
        (lambda: held_out(grouped_runs(), ("nesum",), groups=None), "must have a column 'nesum'"),
        (lambda: held_out(grouped_runs(), groups=None, accuracy="linear"), "must have a column 'linear'"),
        (lambda: held_out(grouped_runs(), groups=None, repetitions=0), "repetitions must be at least 1"),
        (lambda: configurations([{"knn": 0.5}]), "columns of their settings"),
        (lambda: read_runs("no/such/runs.csv"), "does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(call, message):
    with pytest.raises((ValueError, OSError), match=message):
        call()


def test_a_file_without_runs_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("auc,knn\n")
    with pytest.raises(ValueError, match="at least one run, got none"):
        read_runs(tmp_path)
