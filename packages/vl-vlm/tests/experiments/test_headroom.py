"""The table on the page is that of the committed rows, and the script trains and evaluates from end to end."""

from __future__ import annotations

from itertools import product

import headroom
import torch
from vl_core.results import read_rows
from vl_core.tables import write_rows
from vl_vlm.evaluation.tasks.scenes import TASKS
from workspace import ROOT

PAGE = ROOT / "packages/vl-vlm/docs/scenes.md"


def test_the_table_is_on_the_page():
    assert headroom.table(read_rows(headroom.ROWS)) in PAGE.read_text(encoding="utf-8")


def test_words_end_with_a_one_and_zeros():
    found = headroom.encode_words(["a b", "b"], {"a": 2, "b": 3})
    assert found["input_ids"][:, :4].tolist() == [[2, 3, 1, 0], [3, 1, 0, 0]]
    assert found["attention_mask"].sum(1).tolist() == [3, 2]


def test_a_short_run_replaces_its_own_rows_and_keeps_those_of_the_other(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    committed = read_rows(headroom.ROWS)
    write_rows(path, committed)
    arguments = ["--updates", "2", "--batch", "8", "--scenes", "500", "--items", "4", "--out", str(path)]
    headroom.main([*arguments, "--negatives"])
    plain, own = ([row for row in read_rows(path) if row["training"] == name] for name in ("plain", "with negatives"))
    assert plain == [row for row in committed if row["training"] == "plain"]
    assert [(row["split"], row["task"]) for row in own] == list(product(headroom.SPLITS, TASKS))
    assert {row["items"] for row in own} == {"4"}
    assert headroom.table(read_rows(path)) in capsys.readouterr().out


def test_training_lowers_the_loss_of_what_it_sees():
    model, words = headroom.train(40, 16, 16, False)
    dataset = headroom.make_scenes(16)
    images = headroom.encode_pixels([item.image for item in dataset])
    texts = [item.captions[0] for item in dataset]
    with torch.no_grad():
        logits = model(pixel_values=images, **headroom.encode_words(texts, words)).logits_per_image
    assert (logits.argmax(1) == torch.arange(16)).float().mean() > 0.3
