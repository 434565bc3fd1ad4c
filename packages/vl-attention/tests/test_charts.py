"""Charts of attention maps and of their similarity, for models of any shape."""

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from vl_attention.analysis.shift_accuracy import ShiftAccuracy
from vl_attention.analysis.similarity import MapSimilarity
from vl_attention.charts.maps import draw_attention
from vl_attention.charts.reconstructions import draw_reconstructions
from vl_attention.charts.shifts import draw_shifts
from vl_attention.charts.similarity import draw_head_similarity, draw_layer_similarity
from vl_attention.charts.transfer import draw_transfer
from vl_attention.comparison.compare import COLUMNS
from vl_attention.comparison.summary import summarize
from vl_core.charts import SMALL, smallest_text
from vl_core.corruptions import SHIFTS


@pytest.fixture(autouse=True)
def readable(monkeypatch):
    """Require of every figure that is saved that no type is smaller than eight points at the width of a page."""
    save = Figure.savefig

    def checked(self, *args, **options):
        save(self, *args, **options)
        assert smallest_text(self) >= SMALL

    monkeypatch.setattr(Figure, "savefig", checked)


def colors(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return len(image.convert("RGB").getcolors(1 << 24))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("head", [None, 1])
def test_maps_of_different_grids_stand_side_by_side(tmp_path, channels, head):
    images = torch.rand(2, channels, 16, 24, generator=torch.Generator().manual_seed(0))
    maps = {"teacher": torch.rand(2, 3, 2, 3), "costs $5": torch.rand(2, 2, 4, 6)}
    draw_attention(tmp_path / "maps.png", images, maps, head=head, labels=["a_$b", "c"], title="layer 3")
    assert colors(tmp_path / "maps.png") > 100


def test_maps_of_wrong_shapes_are_refused_and_nothing_is_written(tmp_path):
    images = torch.rand(2, 3, 16, 16)
    for maps, options, message in [
        ({"a": torch.rand(1, 3, 2, 2)}, {}, "maps must be"),
        ({}, {}, "at least one"),
        ({"a": torch.rand(2, 3, 2, 2)}, {"head": 3}, "head must be"),
        ({"a": torch.rand(2, 3, 2, 2)}, {"labels": ["x"]}, "labels must be one per image, 2, got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            draw_attention(tmp_path / "maps.png", images, maps, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [draw_head_similarity, draw_layer_similarity])
def test_pairs_with_and_without_common_heads_are_drawn(tmp_path, draw):
    rows = [MapSimilarity("a", "$b", i, i, head, 0.1 * i + 0.02 * head, 4) for i in range(4) for head in range(3)]
    rows += [MapSimilarity("a", "c", i, 2 * i, None, 0.2, 4) for i in range(4)]
    draw(tmp_path / "similarity.png", rows)
    assert colors(tmp_path / "similarity.png") > 20
    with pytest.raises(ValueError, match="one or more"):
        draw(tmp_path / "other.png", [])


def test_names_stand_beside_their_lines_in_words(tmp_path, monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **b: (saved.append(self), save(self, *a, **b))[1])
    rows = [MapSimilarity("teacher", name, i, i, 0, 0.3 + 0.001 * i, 4) for name in ("fine_tuned", "b") for i in (0, 1)]
    draw_layer_similarity(tmp_path / "similarity.png", rows)
    lines, names = saved[0].axes
    assert lines.get_legend() is None
    assert lines.get_title() == "Attention maps compared with those of teacher"
    found = {text.get_text(): (text.get_position()[1], text.get_color()) for text in names.texts}
    assert list(found) == ["fine tuned", "b"]
    assert abs(found["fine tuned"][0] - found["b"][0]) >= 0.045 - 1e-9
    assert [color for _, color in found.values()] == [line.get_color() for line in lines.lines[:2]]


def test_accuracies_are_drawn_with_their_gains(tmp_path):
    accuracies = {"scratch": (0.7, 0.72), "fine-tune": (0.8, 0.9), "costs $5": (0.1, 0.99)}
    rows = [
        dict(zip(COLUMNS, map(str, (name, seed, 8, 4, value, 10, 100)), strict=True))
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    draw_transfer(tmp_path / "transfer.png", summarize(rows, ""), rows, title="a_$b")
    assert colors(tmp_path / "transfer.png") > 20
    with pytest.raises(ValueError, match="one or more"):
        draw_transfer(tmp_path / "other.png", [], [])


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_are_drawn(tmp_path, channels):
    images = torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    draw_reconstructions(tmp_path / "guessed.png", images, images, images)
    assert colors(tmp_path / "guessed.png") > 50
    with pytest.raises(ValueError, match="same shape"):
        draw_reconstructions(tmp_path / "other.png", images, images[:2], images)
    assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize("sets", [["photos"], ["photos", "$sketches$"]])
@pytest.mark.parametrize("shifts", [[], ["rotation"], list(SHIFTS)])
def test_accuracies_are_drawn_with_and_without_shifts(tmp_path, sets, shifts):
    def accuracy(shift, severity):
        share = 0.9 - 0.15 * severity
        return ShiftAccuracy(shift, severity, int(100 * share), 100, share, share - 0.08, share + 0.05)

    rows = {
        (model, images): [accuracy("none", 0), *(accuracy(shift, severity) for shift in shifts for severity in (5, 1))]
        for model in ("_plain", "costs $5$", "third")
        for images in sets
    }
    # What was not measured is left out.
    rows["third", sets[0]] = rows["third", sets[0]][1:]
    draw_shifts(tmp_path / "shifts.png", rows)
    assert colors(tmp_path / "shifts.png") > 20
    with pytest.raises(ValueError, match="at least one accuracy"):
        draw_shifts(tmp_path / "other.png", {("a", "b"): []})
