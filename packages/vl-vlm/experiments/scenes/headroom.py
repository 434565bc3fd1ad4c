"""A small CLIP on scenes: what it learns of each factor, for combinations that it has seen and for held-out ones.

    python packages/vl-vlm/experiments/scenes/headroom.py [--negatives]

Trains a model of 0.3 million weights on 12,000 scenes of the split train in about four minutes of one core, evaluates
it on the splits test and held_out, adds its rows to `packages/vl-vlm/results/scenes_headroom.csv`, and prints the table
of the page `docs/scenes.md`. With --negatives, false captions take part in the loss.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from vl_core.progress import progress_bar
from vl_core.results import markdown_table, read_rows
from vl_core.tables import percent, write_rows
from vl_vlm import InfoNCELoss, evaluate_scenes, from_dual_encoder, make_scenes
from vl_vlm.scenes.vocabulary import Split

ROWS = Path(__file__).resolve().parents[2] / "results/scenes_headroom.csv"
SPLITS: tuple[Split, ...] = ("test", "held_out")
_LENGTH = 18


def encode_words(texts: Sequence[str], words: Mapping[str, int]) -> dict[str, Tensor]:
    """Numbers of words, 1 after the last one, zeros after it."""
    ids = torch.zeros(len(texts), _LENGTH, dtype=torch.long)
    for row, text in enumerate(texts):
        numbers = [words[word] for word in text.split()] + [1]
        ids[row, : len(numbers)] = torch.tensor(numbers)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def encode_pixels(images: Sequence[Any]) -> Tensor:
    """Images ``(B, 3, H, W)`` between -1 and 1."""
    stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return stacked.movedim(-1, 1).float() / 127.5 - 1


def small_clip(words: int) -> CLIPModel:
    """A CLIP for images of 32 by 32 pixels."""
    vision = {"image_size": 32, "patch_size": 4, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3}
    text = {"vocab_size": words, "max_position_embeddings": _LENGTH, "hidden_size": 64, "intermediate_size": 256}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision | {"num_attention_heads": 4}, projection_dim=64))


def train(updates: int, batch: int, count: int, negatives: bool) -> tuple[CLIPModel, dict[str, int]]:
    """Train on the split train, with one caption an image and update; equal captions are positives."""
    torch.manual_seed(0)
    choices = random.Random(0)
    dataset = make_scenes(count, negatives=negatives)
    images = torch.from_numpy(np.stack([np.asarray(dataset[index].image) for index in range(count)]))
    texts = [text for captions in dataset.captions for text in captions]
    texts += [text for facts in dataset.metadata or () for text in facts.get("negatives", ())]
    words = {word: number for number, word in enumerate(sorted({w for text in texts for w in text.split()}), start=2)}
    model = small_clip(len(words) + 2)
    loss = InfoNCELoss()
    parameters = [*model.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    facts = dataset.metadata or ()
    for update in progress_bar(range(updates), desc="training", unit="updates"):
        rate = min(1, (update + 1) / 50) * 0.5 * (1 + cos(pi * update / updates))
        optimizer.param_groups[0]["lr"] = 1e-3 * rate
        chosen = [choices.randrange(count) for _ in range(batch)]
        captions = [choices.choice(dataset.captions[index]) for index in chosen]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(captions))}
        ids = torch.tensor([numbers[text] for text in captions])
        pixels = images[chosen].movedim(-1, 1).float() / 127.5 - 1
        wrong = None
        if negatives:
            false = [choices.choice(facts[index]["negatives"]) for index in chosen]
            true = set(captions)
            wrong = model.get_text_features(**encode_words([text for text in false if text not in true], words))
            wrong = getattr(wrong, "pooler_output", wrong)
        found = model(pixel_values=pixels, **encode_words(captions, words))
        value = loss(found.image_embeds, found.text_embeds, positives=(ids, ids), negatives=wrong)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    model.eval()  # type: ignore[no-untyped-call]
    return model, words


def rows(model: CLIPModel, words: Mapping[str, int], count: int, training: str) -> list[dict[str, object]]:
    """First places of every task on both splits."""

    @torch.no_grad()
    def encode_image(images: Sequence[Any]) -> Tensor:
        found: Any = model.get_image_features(pixel_values=encode_pixels(images))
        features: Tensor = found.pooler_output
        return features

    @torch.no_grad()
    def encode_text(texts: Sequence[str]) -> Tensor:
        found: Any = model.get_text_features(**encode_words(texts, words))
        features: Tensor = found.pooler_output
        return features

    scorer = from_dual_encoder(encode_image, encode_text)
    found: list[dict[str, object]] = []
    for split in SPLITS:
        for task, result in evaluate_scenes(scorer, count, split=split, name="clip").results.items():
            for metric in ("top-1 accuracy", "image-to-text recall@1", "group score"):
                if metric in {row.metric for row in result.rows}:
                    row, chance = result.row(metric), result.row(metric, "constant").value
                    found.append(
                        {"training": training, "split": split, "task": task, "metric": metric, "value": row.value}
                        | {"low": row.low, "high": row.high, "constant": chance, "items": row.items}
                    )
    return found


def table(found: Sequence[Mapping[str, str]]) -> str:
    """Table of the page, in percent."""
    cells: dict[str, dict[str, str]] = {}
    for row in found:
        name = f"`{row['task']}`" if "_" in row["task"] else row["task"]
        own = cells.setdefault(
            name, {"task": name, "metric": row["metric"], "constant": percent(float(row["constant"]))}
        )
        own[f"{row['training']}, {row['split']}"] = percent(float(row["value"]))
    trainings = list(dict.fromkeys(row["training"] for row in found))
    columns = [f"{training}, {split}" for training in trainings for split in SPLITS]
    return markdown_table(list(cells.values()), ["task", "metric", *columns, "constant"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--negatives", action="store_true", help="false captions take part in the loss")
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--scenes", type=int, default=12_000)
    parser.add_argument("--items", type=int, default=400, help="images or pairs of each task")
    parser.add_argument("--out", type=Path, default=ROWS)
    given = parser.parse_args(arguments)
    training = "with negatives" if given.negatives else "plain"
    model, words = train(given.updates, given.batch, given.scenes, given.negatives)
    others = [row for row in read_rows(given.out) if row["training"] != training] if given.out.exists() else []
    found = [*others, *rows(model, words, given.items, training)]
    write_rows(given.out, sorted(found, key=lambda row: str(row["training"])))
    print(table(read_rows(given.out)), end="")


if __name__ == "__main__":
    main()
