"""Survey of the timm models whose attention can be transferred, built without their weights.

    python packages/vl-attention/experiments/supported/timm_models.py

builds models of every family of timm (a module there) on torch's meta device, all kinds of attention in plain vision
transformers and up to three in other families, checks them as `AttentionTransfer` does, and writes
`packages/vl-attention/results/timm_models.csv`: a row for each kind, with one model and the reason of a refusal. It
takes some minutes on one core. With `--table` it prints the Markdown table of the documentation, made from these rows.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm
import torch
from timm.models import list_modules
from torch import nn
from tqdm.auto import tqdm
from vl_attention.attention.rehearsal import check_attention
from vl_attention.models.layout import ViTLayout
from vl_core.results import markdown_table, read_rows
from vl_core.tables import write_rows

ROWS = Path(__file__).resolve().parents[2] / "results" / "timm_models.csv"

REASONS = {
    "turn fused attention on": "taken after `timm.layers.set_fused_attn(True, experimental=True)`",
    "computes its attention in another way": "computed in another way, such as talking heads or linear attention",
    "more than once": "several attentions in a module, such as differential attention",
    "windows": "within windows, between channels, or to pooled tokens",
    "has stages": "stages, or several attention modules in a block",
    "several stacks": "several stacks of attention",
    "has no self-attention": "no attention module with projections of queries, keys and values",
}
"""Reasons in words, by a part of the message."""

_SHORTENED = (
    *("beit", "deepseek_vit", "deit", "eva", "naflexvit", "qwen3_vit", "vision_transformer"),
    *("vision_transformer_hybrid", "vision_transformer_relpos"),
)

Row = Mapping[str, str]


def outcome(model: nn.Module, channels: int = 3) -> str:
    """``"taken"``, or the reason of the refusal."""
    try:
        layout = ViTLayout.of(model)
        check_attention(model, layout.attentions, channels)
    except ValueError as error:
        return next((reason for part, reason in REASONS.items() if part in str(error)), str(error))
    return "taken"


def attention_kinds(model: nn.Module) -> list[str]:
    """Names of the classes of a model's attention modules and of blocks with attention inside; not between channels."""
    kinds = {type(module).__name__ for module in model.modules()} - {"SplitAttn", "SelectiveKernelAttn"}
    return sorted(kind for kind in kinds if re.search(r"attn|attention|parallel.*block|XCA|MHSA|MHA", kind, re.I))


def survey(names: Sequence[str], family: str) -> list[dict[str, str]]:
    """Rows of one family, one for each kind of attention."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        model = build(name, family)
        kinds = " ".join(attention_kinds(model))
        if kinds and kinds not in found:
            found[kinds] = {"family": family, "attention": kinds, "outcome": outcome(model), "example": name}
        # Where models cannot be made small, a family's first kinds stand for it.
        if (len(found) == 3 and family not in _SHORTENED) or (len(found) == 0 and name != names[0]):
            break
    return list(found.values())


def build(name: str, family: str) -> nn.Module:
    """A model without weights; of two blocks where a family has one list of equal blocks and large models."""
    model: nn.Module
    with torch.device("meta"):
        try:
            model = timm.create_model(name, **({"depth": 2} if family in _SHORTENED else {}))
        except AssertionError:  # its blocks have settings of their own
            model = timm.create_model(name)
    return model


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a line for each outcome."""
    lines = []
    for what in dict.fromkeys(("taken", *REASONS.values(), *(row["outcome"] for row in rows))):
        chosen = [row for row in rows if row["outcome"] == what]
        if chosen:
            families = sorted({row["family"] for row in chosen})
            lines.append({"outcome": what, "families of timm": ", ".join(f"`{family}`" for family in families)})
    return markdown_table(lines, ("outcome", "families of timm"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the rows, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of the committed rows")
    if parser.parse_args(arguments).table:
        print(table(read_rows(ROWS)))
        return
    rows = [
        row for family in tqdm(list_modules(), unit="family") for row in survey(timm.list_models(module=family), family)
    ]
    write_rows(ROWS, rows)


if __name__ == "__main__":
    main()
