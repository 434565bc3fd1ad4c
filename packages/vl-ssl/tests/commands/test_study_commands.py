"""The commands `sweep`, `forecast` and `probe` on small runs."""

import csv
import json

import pytest
import torch
from PIL import Image
from vl_ssl import AccuracyForecast, build_backbone, save_backbone
from vl_ssl.cli import main
from vl_ssl.commands import probe as probe_command
from vl_ssl.commands import sweep as sweep_command
from vl_ssl.forecast.runs import BUILT_IN, SETTINGS, configurations, read_all_runs, read_runs
from vl_ssl.training.study import StudyRun, study_images

SWEEP = ["sweep", "--limit", "48", "--image-size", "8", "--width", "2", "--batch-size", "16", "--epochs", "1"]


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_has_a_row_a_run_and_repeats_none(tmp_path, capsys, monkeypatch):
    grid = [*SWEEP, "--ablation", "none", "--out", str(tmp_path)]
    assert main([*grid, "--learning-rate", "0.1"]) == 0
    before = (tmp_path / "runs.csv").read_bytes()
    done, run_study = [], sweep_command.run_study
    monkeypatch.setattr(sweep_command, "run_study", lambda run, out, **options: done.append(run) or run_study(run, out))
    # A cut line, as a full disk or a kill leaves it, gives way.
    (tmp_path / "runs.csv").write_bytes(before + b"cut,simsiam")
    assert main([*grid, "--learning-rate", "0.1", "0.2"]) == 0
    assert [run.base_learning_rate for run in done] == [0.2]
    assert (tmp_path / "runs.csv").read_bytes().startswith(before)
    rows = table(tmp_path / "runs.csv")
    assert [row["base_learning_rate"] for row in rows] == ["0.1", "0.2"]
    assert all((tmp_path / row["run"] / "curve.csv").is_file() for row in rows)
    shown = capsys.readouterr().out
    assert "base learning rate" in shown
    assert "knn of 1,000\n" in shown
    wanted = {*SETTINGS, "run", "seed", "loss", "auc", "rankme", "knn", "alarm_step"} - {"configuration"}
    assert wanted <= rows[0].keys() & table(BUILT_IN)[0].keys()


@pytest.mark.parametrize(("step", "shown"), [("", "none"), ("0", "1"), ("1249", "1,250")])
def test_alarms_are_counted_from_one_in_the_table(step, shown):
    row = {"method": "simsiam", "loss": "-0.5", "auc": "0.9", "rankme": "3.5", "alarm_step": step, "knn": "0.5"}
    head, _, line = sweep_command._table([row], [StudyRun()], 10).splitlines()
    assert "alarm at" in head
    assert line.split()[-3:] == [shown, "50.0", "%"]


def test_a_run_that_fails_costs_the_others_nothing(tmp_path, capsys, monkeypatch):
    run_study = sweep_command.run_study

    def failing(run, out, **options):
        if run.base_learning_rate == 0.2:
            raise ValueError("the loss is not finite at update 3")
        return run_study(run, out)

    monkeypatch.setattr(sweep_command, "run_study", failing)
    line = [*SWEEP, "--ablation", "none", "--learning-rate", "0.2", "0.1", "--out", str(tmp_path)]
    assert main(line) == 1
    assert "has no row: the loss is not finite at update 3" in capsys.readouterr().err
    assert [row["base_learning_rate"] for row in table(tmp_path / "runs.csv")] == ["0.1"]


def test_images_of_one_class_are_refused_once_and_before_training(tmp_path, capsys):
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for number in range(40):
        Image.new("L", (8, 8), number).save(tmp_path / "photos" / "cats" / f"{number}.png")
    line = [*SWEEP, "--images", str(tmp_path / "photos"), "--learning-rate", "0.1", "0.2"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("must have at least two classes, got only cats in 32 of") == 1
    assert not (tmp_path / "out").exists()


def test_an_epoch_is_of_the_images_that_there_are(tmp_path):
    for number in range(20):
        (tmp_path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    line = [*SWEEP, "--images", str(tmp_path / "photos"), "--ablation", "none", "--learning-rate", "0.1"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    assert [(row["limit"], row["updates"]) for row in table(tmp_path / "out" / "runs.csv")] == [("16", "1")]


def test_other_columns_are_refused(tmp_path, capsys):
    (tmp_path / "runs.csv").write_text("run,knn\nfirst,0.5\n")
    assert main([*SWEEP, "--learning-rate", "0.1", "--out", str(tmp_path)]) == 2
    assert "must have the columns" in capsys.readouterr().err


def test_forecast_of_the_runs_that_ship(tmp_path, capsys):
    assert main(["forecast", "--samples", "50", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    runs = read_runs(BUILT_IN)
    assert len(runs) >= 12
    assert f"{len(runs)} runs in {len(set(configurations(runs)))} groups" in shown
    scores = table(tmp_path / "scores.csv")
    assert [row["forecast"] for row in scores] == ["AUC and loss", "loss alone", "RankMe alone", "AUC alone"]
    assert len(table(tmp_path / "forecast.csv")) == len(runs)
    assert AccuracyForecast.load(tmp_path / "forecast.json").runs == len(runs)
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_runs_without_an_accuracy_are_predicted_from_all_others(tmp_path):
    rows = [
        {"run": f"r{i}", "width": i, "loss": -0.9 + 0.01 * (i % 4), "nesum": i, "knn": 0.3 + 0.02 * i}
        for i in range(12)
    ]
    rows.append({**rows[5], "run": "new", "knn": ""})
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    line = ["forecast", str(tmp_path / "runs.csv"), "--features", "nesum", "loss", "--samples", "20"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    *_, new = table(tmp_path / "out" / "forecast.csv")
    assert (new["run"], new["measured"]) == ("new", "")
    assert float(new["predicted"]) == pytest.approx(0.4, abs=0.01)
    assert float(new["low"]) <= 0.4 <= float(new["high"])


def test_a_baseline_without_finite_numbers_is_left_out_and_an_accuracy_is_named(tmp_path, capsys):
    rows = [{"width": i, "auc": 0.6 + 0.01 * i, "loss": -0.9, "rankme": i, "knn": 0.3 + 0.02 * i} for i in range(6)]
    rows[0]["knn"], rows[2]["rankme"] = "", "nan"
    line = ["forecast", str(tmp_path / "runs.csv"), "--samples", "20", "--out", str(tmp_path / "out")]
    for knn, status in ((rows[3]["knn"], 0), ("inf", 2)):
        rows[3]["knn"] = knn
        with (tmp_path / "runs.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        assert main(line) == status
    assert [row["forecast"] for row in table(tmp_path / "out" / "scores.csv")] == [
        "AUC and loss",
        "loss alone",
        "AUC alone",
    ]
    assert "knn of run 4 must be finite, got inf" in capsys.readouterr().err


def training_folder(folder, seed, width, shift):
    """Leave a folder as `vl-ssl train` does."""
    folder.mkdir()
    config = {"seed": seed, "pretrain": {"seed": seed}, "width": width, "images": f"digest {seed}"}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [
        {"step": step, "loss": -step / 100, "collapse/features/auc": 0.7 + shift, "collapse/projections/auc": 0.8}
        | ({"knn": 0.5 - shift} if step == 99 else {})
        for step in (49, 90, 99)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_folders_of_training_are_runs_grouped_without_their_seeds(tmp_path):
    folders = [training_folder(tmp_path / f"{w}-{s}", s, w, 0.01 * w + 0.001 * s) for w in (2, 4, 8) for s in (0, 1)]
    rows = read_all_runs(folders)
    assert len(set(configurations(rows))) == 3
    assert [float(rows[0][name]) for name in ("loss", "auc", "projection_auc", "knn", "updates")] == [
        pytest.approx(value) for value in (-0.945, 0.72, 0.8, 0.48, 100)
    ]
    assert main(["forecast", *map(str, folders), "--samples", "20", "--out", str(tmp_path / "out")]) == 0
    with pytest.raises(ValueError, match="all of vl-ssl train or all of tables"):
        read_all_runs([folders[0], BUILT_IN])


def test_a_backbone_is_probed_beside_pixels_and_random_weights(tmp_path, capsys):
    torch.manual_seed(3)
    backbone = build_backbone("small_resnet", channels=1, image_size=8, width=2, depth="10")
    save_backbone(backbone, tmp_path / "run" / "model")
    line = ["probe", str(tmp_path / "run"), "--limit", "60", "--test-limit", "40", "--k", "1", "5"]
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    rows = table(tmp_path / "out" / "probe.csv")
    kinds = ["raw pixels", "random weights", "backbone"]
    assert [row["features"] for row in rows] == [kind for kind in kinds for _ in range(3)]
    assert [row["probe"] for row in rows] == ["knn", "knn", "linear"] * 3
    assert [row["k"] for row in rows[:3]] == ["1", "5", ""]
    assert {row["normalization"] for row in rows} == {"l2", "standardized"}
    assert rows[3]["accuracy"] != rows[6]["accuracy"] or rows[5]["accuracy"] != rows[8]["accuracy"]
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)
    assert "8 pixels" in capsys.readouterr().out


def test_a_transformer_is_probed_at_its_own_size_and_no_other(tmp_path, capsys):
    backbone = build_backbone("vit_tiny_patch16_224", channels=1, depth=1, embed_dim=24)
    assert probe_command._size(backbone, 28) == 224
    save_backbone(backbone, tmp_path / "vit")
    line = ["probe", str(tmp_path / "vit"), "--limit", "20", "--test-limit", "10", "--k", "1", "--out", str(tmp_path)]
    assert main([*line, "--size", "8"]) == 2
    assert "images must have the size that the backbone was built for" in capsys.readouterr().err


def test_a_backbone_of_many_channels_is_refused_with_the_way_out(tmp_path, capsys):
    save_backbone(build_backbone("small_resnet", channels=13, width=2, depth="10"), tmp_path / "many")
    assert main(["probe", str(tmp_path / "many")]) == 2
    assert "1 or 3 channels, which images of the commands have, got 13; in Python, KNNProbe" in capsys.readouterr().err


def test_without_a_backbone_only_the_baselines_are_probed(tmp_path, capsys):
    assert main(["probe", "--limit", "60", "--test-limit", "40", "--out", str(tmp_path)]) == 0
    assert "no trained backbone was given" in capsys.readouterr().out
    assert {row["features"] for row in table(tmp_path / "probe.csv")} == {"raw pixels", "random weights"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["sweep", "--width", "3"], "--width must be even, got 3"),
        (["sweep", "--seeds"], "--seeds"),
        (["sweep", "--method", "simclr", "--ablation", "no-predictor"], "--ablation must leave at least one run"),
        (["sweep", "--limit", "10", "--epochs", "1"], "--batch-size must be at most the run's 10 positions"),
        (["forecast", "nowhere.csv"], "nowhere.csv does not exist"),
        (["forecast", "--features", "width", "width"], "--features must be at least one column and none twice"),
        (["forecast", "--features", "nothing"], "--features must be among the columns run, method"),
        (["forecast", "--features", "auc", "knn"], "--features must not hold the accuracy that is forecast, knn"),
        (["forecast", "--features", "knn_best"], "got knn_best, which is measured with labels"),
        (["forecast", "--accuracy", "linear"], "--accuracy must be among the columns"),
        (["forecast", "--groups", "share"], "at least 3 groups with a measured knn, got 2"),
        (["forecast", "--features", "method"], "method of run 1 must be a number, got 'simsiam'"),
        (["probe", "nowhere"], "MODEL must be a folder of a backbone or 'random', got nowhere"),
        (["probe", "."], "MODEL must be a folder with config.json and model.safetensors"),
        (["probe", "--k", "9", "--limit", "5"], "--k must be at most --limit, 5, got 9"),
    ],
)
def test_wrong_input_is_one_line(line, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_random_baseline_normalizes_the_training_images():
    torch.manual_seed(0)
    network = build_backbone("small_resnet", channels=1, image_size=14, width=2, depth="10", stem_stride=2)
    images = study_images("fashion", 14, 64).train
    found = probe_command.random_baseline(network.eval(), images, 64)
    with torch.no_grad():
        features = found(images.batch(slice(0, 64)))
        expected = found.train()(images.batch(slice(0, 64)))
    # Running variances are unbiased, those of a batch are not.
    torch.testing.assert_close(features, expected, rtol=0.05, atol=0.05)
    assert all(part.weight.all() for part in found.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert all(part.momentum == 0.1 for part in found.modules() if isinstance(part, torch.nn.BatchNorm2d))
