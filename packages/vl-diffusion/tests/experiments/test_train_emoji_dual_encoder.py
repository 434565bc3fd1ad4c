"""The script that trains the baseline of the emoji model, for an epoch of a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import train_emoji_dual_encoder
from emoji_images import TRAINING_STYLES, build_tokenizer, held_out, open_style
from vl_core.results import read_rows


def test_a_run_leaves_its_model_and_a_row_with_its_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, results = tmp_path / "run", tmp_path / "rows.csv"
    options = ["--out", out, "--results", results, "--epochs", 1, "--batch", 1024, "--width", 8]
    threads = torch.get_num_threads()
    monkeypatch.setattr("sys.argv", ["train_emoji_dual_encoder.py", *map(str, options), "--threads", str(threads)])
    train_emoji_dual_encoder.main()
    (row,) = read_rows(results)
    assert (row["width"], row["epochs"], row["validation_images"]) == ("8", "1", "153")
    assert float(row["low"]) < float(row["accuracy"]) < float(row["high"])
    model = train_emoji_dual_encoder.load(out, build_tokenizer(open_style(*TRAINING_STYLES)))
    assert int(row["parameters"]) == sum(p.numel() for p in model.parameters())


def test_a_network_too_narrow_for_its_kernels_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train_emoji_dual_encoder.py", "--width", "4"])
    with pytest.raises(SystemExit):
        train_emoji_dual_encoder.main()
    assert "--width is 4, 8 or more expected" in capsys.readouterr().err


def test_all_pairs_of_one_concept_are_positives() -> None:
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    right = torch.where(same, 20.0, -20.0)
    assert train_emoji_dual_encoder.contrastive_loss(right, same) == pytest.approx(2 / 3 * 0.6931, abs=1e-3)
    assert train_emoji_dual_encoder.contrastive_loss(-right, same) > 20


def test_the_nearest_candidate_name_is_chosen() -> None:
    tokenizer = build_tokenizer(open_style("noto"))
    model = train_emoji_dual_encoder.DualEncoder(len(tokenizer), width=2).eval()
    inputs, _ = held_out(settings=True)
    choices = [["hot dog", "red apple", "cat"], ["cat", "dog"]]
    with torch.no_grad():
        images = model.encode_images(inputs[:2])
        texts = {
            name: model.encode_texts(*train_emoji_dual_encoder.tokenize(tokenizer, [name]))[0]
            for name in ("hot dog", "red apple", "cat", "dog")
        }
    expected = [
        max(row, key=lambda name, i=image: float(texts[name] @ i)) for image, row in zip(images, choices, strict=True)
    ]
    assert train_emoji_dual_encoder.choose(model, tokenizer, inputs[:2], choices) == expected
    torch.testing.assert_close(images.norm(dim=1), torch.ones(2))
