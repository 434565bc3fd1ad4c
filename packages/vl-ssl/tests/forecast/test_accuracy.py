"""The fit against closed forms, its interval against an explicit loop and simulated runs, and what it refuses."""

import json

import numpy as np
import pytest
from vl_ssl import AccuracyForecast


def simulated_runs(count, *, noise=0.02, seed=0, slope=(-1.5, 0.4)):
    """Runs whose accuracy is linear in AUC and loss, with Gaussian errors."""
    generator = np.random.default_rng(seed)
    auc, loss = generator.uniform(0.55, 0.75, count), generator.uniform(-1.0, -0.7, count)
    knn = 0.5 + slope[0] * (auc - 0.65) + slope[1] * (loss + 0.85) + noise * generator.standard_normal(count)
    return [{"auc": a, "loss": b, "knn": c} for a, b, c in zip(auc, loss, knn, strict=True)]


def least_squares(runs, degree=1):
    """Coefficients of the raw metrics without any penalty."""
    columns = [np.ones(len(runs)), *(np.array([run[name] for run in runs]) for name in ("auc", "loss"))]
    if degree == 2:
        columns += [columns[1] ** 2, columns[1] * columns[2], columns[2] ** 2]
    design = np.stack(columns, axis=1)
    return design, np.linalg.lstsq(design, np.array([run["knn"] for run in runs]), rcond=None)[0]


@pytest.mark.parametrize("degree", [1, 2])
def test_without_a_penalty_to_speak_of_the_fit_is_least_squares(degree):
    runs = simulated_runs(40)
    found = AccuracyForecast(degree=degree, ridge=1e-12).fit(runs).predict(runs).accuracy
    design, coefficients = least_squares(runs, degree)
    np.testing.assert_allclose(found, design @ coefficients, atol=1e-8)


def test_the_penalty_shrinks_a_single_standardized_weight_by_its_closed_form():
    runs = simulated_runs(20)
    auc, knn = (np.array([run[name] for run in runs]) for name in ("auc", "knn"))
    expected = np.cov(auc, knn, bias=True)[0, 1] / auc.std() / (1 + 0.5)
    assert AccuracyForecast(("auc",), ridge=0.5).fit(runs).weights == {"auc": pytest.approx(expected)}


def test_signs_are_learned_and_scales_do_not_matter():
    runs = simulated_runs(30, noise=0.0, slope=(1.0, 0.0))
    assert AccuracyForecast().fit(runs).weights["auc"] > 0
    scaled = [{**run, "auc": 1000 * run["auc"] - 7, "loss": run["loss"] / 50} for run in runs]
    first, second = (AccuracyForecast().fit(each).predict(each[:5]) for each in (runs, scaled))
    np.testing.assert_allclose(first, second, atol=1e-10)


def test_a_constant_metric_says_nothing():
    runs = [{**run, "constant": 0.3} for run in simulated_runs(15)]
    alone = AccuracyForecast(("auc",)).fit(runs).predict(runs)
    both = AccuracyForecast(("auc", "constant")).fit(runs)
    np.testing.assert_allclose(both.predict(runs), alone, atol=1e-12)
    assert both.weights["constant"] == 0
    assert AccuracyForecast(("constant",)).fit(runs).predict(runs[:1]).accuracy[0] == pytest.approx(
        np.mean([run["knn"] for run in runs])
    )


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]])
def test_the_interval_is_the_jackknife_of_an_explicit_loop(groups):
    runs, new = simulated_runs(12, seed=3), simulated_runs(4, seed=4)
    level, labels = 0.8, list(range(12)) if groups is None else groups
    lows, highs = [], []
    for own, label in zip(runs, labels, strict=True):
        others = [run for run, other in zip(runs, labels, strict=True) if other != label]
        # The middle of a fit does not depend on its groups.
        predict = AccuracyForecast(level=level).fit(others).predict
        residual = abs(own["knn"] - predict([own]).accuracy[0])
        lows.append(predict(new).accuracy - residual)
        highs.append(predict(new).accuracy + residual)
    found = AccuracyForecast(level=level).fit(runs, groups=groups).predict(new)
    # 0.2 * 13 is 2.6, and 0.8 * 13 is 10.4.
    np.testing.assert_allclose(found.low, np.sort(lows, axis=0)[1], atol=1e-12)
    np.testing.assert_allclose(found.high, np.sort(highs, axis=0)[10], atol=1e-12)


@pytest.mark.parametrize("errors", ["gaussian", "heavy"])
def test_intervals_cover_about_as_many_new_runs_as_they_say(errors):
    covered = []
    for seed in range(100):
        runs = simulated_runs(31, seed=seed, noise=0.02 if errors == "gaussian" else 0.0)
        if errors == "heavy":
            noise = np.random.default_rng(1000 + seed).standard_t(2, len(runs))
            runs = [
                {**run, "knn": float(np.clip(run["knn"] + 0.02 * t, 0, 1))} for run, t in zip(runs, noise, strict=True)
            ]
        found = AccuracyForecast(level=0.9).fit(runs[:30]).predict(runs[30:])
        covered.append(found.low[0] <= runs[30]["knn"] <= found.high[0])
    # The standard deviation of this mean is 0.03.
    assert 0.83 <= np.mean(covered) <= 0.97


def test_too_few_runs_for_a_level_leave_the_whole_range():
    forecast = AccuracyForecast(level=0.9)
    found = forecast.fit(simulated_runs(8)).predict(simulated_runs(3, seed=1))
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    found = forecast.fit(simulated_runs(9)).predict(simulated_runs(3, seed=1))
    assert (found.high - found.low < 0.5).all()


def test_predictions_stay_shares():
    runs = simulated_runs(20)
    found = AccuracyForecast().fit(runs).predict([{"auc": 9.0, "loss": -1.0}, {"auc": -9.0, "loss": -1.0}])
    assert found.accuracy.tolist() == [0.0, 1.0]
    assert (found.low <= found.accuracy).all()
    assert (found.accuracy <= found.high).all()


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    runs = [{**run, "top": run["knn"]} for run in simulated_runs(12)]
    groups = [number // 2 for number in range(12)]
    forecast = AccuracyForecast(degree=2, ridge=0.01, level=0.8).fit(runs, accuracy="top", groups=groups)
    forecast.save(tmp_path / "forecast.json")
    loaded = AccuracyForecast.load(tmp_path / "forecast.json")
    new = simulated_runs(5, seed=2)
    np.testing.assert_array_equal(loaded.predict(new), forecast.predict(new))
    assert (loaded.runs, loaded.target, loaded.features) == (12, "top", ("auc", "loss"))


@pytest.mark.parametrize(
    "change",
    [
        {"features": "auc"},
        {"degree": 3},
        {"fit": {"mean": [0, 0], "scale": [0, 1], "intercept": 0, "weights": [0, 0]}},
        {"fit": {"mean": [0], "scale": [1], "intercept": 0, "weights": [0]}},
        {"fold_of": [0, 1, 2]},
        {"fold_of": []},
        {"residuals": [float("nan")] * 12},
        {"level": None},
        {"folds": None},
    ],
)
def test_a_damaged_file_is_refused_by_its_name(change, tmp_path):
    path = tmp_path / "forecast.json"
    AccuracyForecast().fit(simulated_runs(12)).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"forecast\.json holds no accuracy forecast"):
        AccuracyForecast.load(path)


RUNS = simulated_runs(6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AccuracyForecast("auc"), "features must be at least one name"),
        (lambda: AccuracyForecast(()), "features must be at least one name"),
        (lambda: AccuracyForecast(("auc", "auc")), "no name twice"),
        (lambda: AccuracyForecast(degree=3), "degree must be 1 or 2, got 3"),
        (lambda: AccuracyForecast(ridge=0), "ridge must be above 0"),
        (lambda: AccuracyForecast(level=1), "level must lie between 0 and 1, got 1"),
        (lambda: AccuracyForecast().predict(RUNS), r"call fit\(runs\)"),
        (lambda: AccuracyForecast().save("never"), r"call fit\(runs\)"),
        (lambda: AccuracyForecast().fit(RUNS[:2]), "runs must be at least 3, got 2"),
        (lambda: AccuracyForecast().fit([]), "runs must hold at least one run, got none"),
        (lambda: AccuracyForecast(("rankme",)).fit(RUNS), "run 1 must have a column 'rankme', got auc, loss, knn"),
        (lambda: AccuracyForecast().fit([*RUNS, {**RUNS[0], "auc": float("nan")}]), "auc of run 7 must be finite"),
        (lambda: AccuracyForecast().fit([*RUNS, {**RUNS[0], "auc": ""}]), "auc of run 7 must be a number, got ''"),
        (lambda: AccuracyForecast().fit([*RUNS, {**RUNS[0], "knn": 91.0}]), "divide per cent by 100"),
        (lambda: AccuracyForecast().fit(RUNS, groups=[0, 1]), "one label for each of 6 runs, got 2"),
        (lambda: AccuracyForecast().fit(RUNS, groups=["a"] * 6), "groups must be at least two, got 1"),
        (lambda: AccuracyForecast().fit(RUNS).predict([{"auc": 0.6}]), "run 1 must have a column 'loss'"),
    ],
)
def test_what_cannot_be_forecast_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
