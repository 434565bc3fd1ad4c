"""`vl-diffusion compare-search`: each error is computed once, and every search finds what it finds alone."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from vl_core.data import open_dataset
from vl_diffusion import DiffusionClassifier, Exhaustive, Halving, LabelTree, Racing, Shortlist, Staged
from vl_diffusion.classification.class_means import class_mean_logits
from vl_diffusion.cli import main
from vl_diffusion.commands.settings.compare_search import CompareSearch
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser
from vl_diffusion.search import SearchInput
from vl_diffusion.search.common_grid import OnGrid
from vl_diffusion.studies.record import StudyRecord

DRAWS, IMAGES = 8, 16
SETTINGS = ("--exhaustive", "8", "--stages", "4", "8", "--survivors", "3", "1", "--top", "3")
NAMES = [
    *("exhaustive", "staged, literal grid", "staged, nested grid", "successive halving"),
    *("racing", "racing, empirical Bernstein", "label tree, then racing", "shortlist, then racing"),
]


@pytest.fixture(scope="module")
def others(tmp_path_factory, tiny):
    """A label tree and another model's scores: file names and contents."""
    folder = tmp_path_factory.mktemp("others")
    tree = {"animals": list(tiny.CLASSES[1:7]), "others": [tiny.CLASSES[0], *tiny.CLASSES[7:]]}
    (folder / "tree.json").write_text(json.dumps(tree))
    logits = np.random.default_rng(1).standard_normal((IMAGES, 10))
    np.save(folder / "logits.npy", logits)
    return folder / "tree.json", folder / "logits.npy", tree, logits


@pytest.fixture(scope="module")
def arguments(labeled_folder, pixel_dit_folder, others):
    """The command without its folder."""
    return [
        *("compare-search", str(labeled_folder), "--model", str(pixel_dit_folder), *SETTINGS),
        *("--tree", str(others[0]), "--logits", str(others[1]), "--out"),
    ]


@pytest.fixture(scope="module")
def compared(arguments, tmp_path_factory):
    """The folder of a finished comparison, and the number of evaluations of the network."""
    out, seen, predict = tmp_path_factory.mktemp("compare") / "out", [], ClassConditionalDenoiser.predict

    def counted(self, x_t, time, condition):
        seen.append(len(x_t))
        return predict(self, x_t, time, condition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassConditionalDenoiser, "predict", counted)
        assert main([*arguments, str(out)]) == 0
    return out, sum(seen)


@pytest.fixture
def undrawn(monkeypatch):
    """Skip the plot, half of a small comparison's time."""
    monkeypatch.setattr("vl_diffusion.commands.compare_search.draw_comparison", lambda path, rows: None)


def rows(out):
    with (out / "search.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(out):
    return [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in rows(out)]


def test_the_table_has_these_columns_and_every_search(compared):
    out, _ = compared
    header = (out / "search.csv").read_text().splitlines()[0]
    assert header == "search,images,accuracy,agreement,evaluations_per_image,cpu_seconds"
    assert [row["search"] for row in rows(out)] == NAMES
    assert {row["images"] for row in rows(out)} == {str(IMAGES)}
    assert float(rows(out)[0]["agreement"]) == 1
    assert float(rows(out)[0]["accuracy"]) == 0.75
    assert float(rows(out)[0]["evaluations_per_image"]) == 10 * DRAWS
    assert all(float(row["cpu_seconds"]) > 0 for row in rows(out))
    with Image.open(out / "search.png") as image:
        assert image.width > 800


def test_an_error_is_computed_once(compared):
    # Exhaustive search needs all of them.
    assert compared[1] == IMAGES * 10 * DRAWS


def test_every_search_finds_and_costs_what_it_does_alone(compared, labeled_folder, pixel_dit_folder, others, tiny):
    _, _, tree, logits = others
    racing = Racing(DRAWS)
    alone = {
        "exhaustive": Exhaustive(DRAWS),
        "staged, literal grid": Staged((4, 8), (3, 1), "literal"),
        "staged, nested grid": Staged((4, 8), (3, 1)),
        "successive halving": Halving(DRAWS),
        "racing": racing,
        "racing, empirical Bernstein": Racing(DRAWS, bound="bernstein"),
        "label tree, then racing": LabelTree(tree, tiny.CLASSES, racing),
        "shortlist, then racing": Shortlist(racing, 3),
    }
    data = open_dataset(labeled_folder)
    truths = np.array([data.classes[label] for label in data.labels])
    reference = None
    for row in rows(compared[0]):
        classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=alone[row["search"]])
        result = classifier.classify([data[i][0] for i in range(IMAGES)], logits=logits)
        reference = result.predictions if reference is None else reference
        assert float(row["accuracy"]) == np.mean(np.array(result.predicted_classes) == truths), row["search"]
        assert float(row["agreement"]) == np.mean(result.predictions == reference), row["search"]
        assert float(row["evaluations_per_image"]) == pytest.approx(result.total_evaluations.mean()), row["search"]


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_comparison_ends_with_the_same_numbers(compared, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vl_diffusion.studies.search_comparison._GROUP_SIZE", 3)
    append, out = StudyRecord.append, tmp_path / "parts"

    def interrupted(self, *given, **totals):
        if len(self.lines()) == 2:
            raise KeyboardInterrupt
        append(self, *given, **totals)

    with monkeypatch.context() as patch:
        patch.setattr(StudyRecord, "append", interrupted)
        assert main([*arguments, str(out)]) == 130
    line = f"vl-diffusion: interrupted; 6 of 16 images are kept in {out}; rerun the command to resume"
    assert capsys.readouterr().err.splitlines()[-1] == line
    with (out / "searches.jsonl").open("a") as file:
        file.write('{"image_ids": [12')
    assert main([*arguments, str(out)]) == 0
    assert "6 of 16 images are finished" in capsys.readouterr().err
    assert without_seconds(out) == without_seconds(compared[0])


@pytest.mark.usefixtures("undrawn")
def test_a_larger_limit_resumes_with_the_same_images(compared, arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments, str(out), "--limit", "5"]) == 0
    assert {row["images"] for row in rows(out)} == {"5"}
    assert main([*arguments, str(out)]) == 0
    assert "5 of 16 images are finished" in capsys.readouterr().err
    assert without_seconds(out) == without_seconds(compared[0])


def test_other_scores_are_refused_in_the_same_folder(compared, arguments, others, tmp_path, capsys):
    changed = tmp_path / "logits.npy"
    np.save(changed, others[3] + 1)
    i = arguments.index(str(others[1]))
    assert main([*arguments[:i], str(changed), "--out", str(compared[0])]) == 2
    assert "logits_sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scores", "said"),
    [(np.zeros((3, 10)), "got (3, 10)"), (np.full((IMAGES, 10), np.nan), "NaN"), ("text", "logits.npy")],
)
def test_bad_scores_are_refused_before_anything_is_computed(scores, said, arguments, others, tmp_path, capsys):
    bad, out = tmp_path / "logits.npy", tmp_path / "out"
    if isinstance(scores, str):
        bad.write_text(scores)
    else:
        np.save(bad, scores)
    i = arguments.index(str(others[1]))
    assert main([*arguments[:i], str(bad), "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"vl-diffusion: error: {bad}: ")
    assert said in error
    assert not out.exists()


@pytest.mark.usefixtures("undrawn")
def test_all_searches_but_the_exhaustive_one_keep_the_evaluation_limit(arguments, tmp_path):
    out = tmp_path / "out"
    assert main([*arguments, str(out), "--max-evaluations", "25", "--limit", "4"]) == 0
    spent = {}
    for line in (out / "searches.jsonl").read_text().splitlines():
        for name, findings in json.loads(line)["results"].items():
            spent.setdefault(name, []).extend(finding["evaluations"] for finding in findings)
    assert list(spent) == NAMES
    assert set(spent.pop("exhaustive")) == {80}
    assert max(map(max, spent.values())) <= 25


def test_a_limit_that_a_search_cannot_keep_is_refused_before_anything_is_computed(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments, str(out), "--max-evaluations", "9"]) == 2
    message = "staged, literal grid: max_evaluations must be at least 10, one draw of each class, got 9"
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "exhaustive", "stages"), [(["40"], 40, (4, 40)), (["5"], 5, (1, 5)), (["4", "8"], 8, (4, 8))]
)
def test_draws_stand_for_those_of_all_searches(given, exhaustive, stages):
    settings = CompareSearch(draws=tuple(map(int, given)))
    settings.check()
    chosen = settings.with_draws()
    assert (chosen.exhaustive, chosen.stages, chosen.draws) == (exhaustive, stages, None)
    assert chosen.with_draws() is chosen


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--draws", "1"], "--draws must be at least 2, got 1"),
        (["--draws"], "--draws must be at least 2, got none"),
        (["--draws", "8", "4"], "--draws must be positive and increase from stage to stage, got (8, 4)"),
        (["--draws", "8", "--stages", "4", "8"], "--draws 8 stands for --exhaustive and --stages; leave these out"),
        (["--draws", "8", "--exhaustive", "9"], "--draws 8 stands for --exhaustive and --stages; leave these out"),
    ],
)
def test_draws_that_will_not_do_are_refused(given, message, capsys):
    assert main(["compare-search", *given]) == 2
    assert capsys.readouterr().err == f"vl-diffusion: error: {message}\n"


@pytest.mark.parametrize("option", ["--search", "--trials", "--noise", "--keep", "--grid", "--bound"])
def test_settings_of_single_searches_are_no_options(option, capsys):
    assert main(["compare-search", option, "1"]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_without_a_tree_or_scores_the_others_are_compared(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["compare-search", str(labeled_folder), "--model", str(pixel_dit_folder), *SETTINGS, "--limit", "2"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert [row["search"] for row in rows(out)] == NAMES[:6]
    said = capsys.readouterr().err
    assert "no label tree is compared" in said
    assert "no shortlist is compared" in said


@pytest.mark.usefixtures("undrawn")
def test_votes_are_compared_without_a_tree(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments, str(out), "--aggregation", "vote", "--limit", "2"]) == 0
    assert [row["search"] for row in rows(out)] == [name for name in NAMES if "tree" not in name]
    assert "no label tree is compared: it supports only --aggregation mean" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_combined_prompts_are_classified_as_the_classifier_does(labeled_folder, sd_folder, tmp_path):
    templates, out = ("a {}.", "{}", "one {} there, and more", "not {}"), tmp_path / "out"
    settings = ("--prompt-template", *templates, "--prompt-combination", "logsumexp", "--temperature", "1e6")
    few = ("--exhaustive", "2", "--stages", "1", "2", "--survivors", "2", "1", "--out", str(out))
    assert main(["compare-search", str(labeled_folder), "--model", str(sd_folder), *settings, *few]) == 0
    groups = [json.loads(line) for line in (out / "searches.jsonl").read_text().splitlines()]
    data = open_dataset(labeled_folder)
    images = [data[i][0] for i in range(len(data))]
    found = {}
    for combination in ("logsumexp", "best"):
        classifier = DiffusionClassifier.from_pretrained(
            sd_folder,
            data.classes,
            search=Exhaustive(2),
            prompt_template=templates,
            prompt_combination=combination,
            temperature=1e6,
        )
        result = classifier.classify(images)
        found[combination] = dict(zip(result.image_ids.tolist(), result.predictions.tolist(), strict=True))
    exhaustive = {
        image_id: finding["prediction"]
        for group in groups
        for image_id, finding in zip(group["image_ids"], group["results"]["exhaustive"], strict=True)
    }
    assert exhaustive == found["logsumexp"]
    # The class of the best single prompt is another one.
    assert found["logsumexp"] != found["best"]


def test_draws_come_from_the_middles_of_their_shares_of_the_grid():
    problem = SearchInput(2)
    classes, draws = next(OnGrid(Exhaustive(4), 12).requests(problem))
    assert classes.tolist() == [0, 1]
    assert draws.tolist() == [1, 4, 7, 10]
    # The same number of draws is the grid itself.
    assert next(OnGrid(Exhaustive(12), 12).requests(problem))[1].tolist() == list(range(12))
    # Draws stay apart and in order where their number does not divide the grid's.
    assert next(OnGrid(Exhaustive(5), 7).requests(problem))[1].tolist() == [0, 2, 3, 4, 6]
    with pytest.raises(ValueError, match="at least the search's 4, got 3"):
        OnGrid(Exhaustive(4), 3)


def test_a_search_on_a_grid_is_the_search():
    errors = np.random.default_rng(0).random((3, 12))
    inner, outer = Staged((2, 6), (2, 1)), OnGrid(Staged((2, 6), (2, 1)), 12)
    assert outer.budget(3) == inner.budget(3)
    own = errors[:, (2 * np.arange(6) + 1)]

    def play(search, table):
        requested, steps = [], search.requests(SearchInput(3))
        try:
            classes, draws = next(steps)
            while True:
                requested.append((classes.tolist(), len(draws)))
                classes, draws = steps.send(table[np.ix_(classes, draws)])
        except StopIteration as end:
            return requested, end.value

    assert play(outer, errors) == play(inner, own)


def test_the_nearest_class_mean_is_the_likeliest():
    class Training:
        classes, labels = ("dark", "light"), np.array([0, 1, 0, 1])

        def __getitem__(self, i):
            return Image.new("L", (8 + i, 8), 40 if i % 2 == 0 else 200), int(self.labels[i])

    images = [Image.new("L", (9, 9), 60), Image.new("RGB", (30, 20), (210, 210, 210))]
    scores = class_mean_logits(Training(), images, ["light", "dark"])
    assert scores.shape == (2, 2)
    assert scores.argmax(1).tolist() == [1, 0]
    # A gray of 60/255 against 40 and 200, 32 x 32 times.
    assert scores[0] == pytest.approx([-1024 * (140 / 255) ** 2, -1024 * (20 / 255) ** 2], rel=1e-4)
    with pytest.raises(ValueError, match="'gray' has no training image"):
        class_mean_logits(Training(), images, ["light", "gray"])
