"""The table of supported models on the page is that of the committed rows, and rows are those of a survey."""

from __future__ import annotations

import pytest
import timm_models
from vl_core.results import read_rows
from workspace import ROOT

PAGE = ROOT / "packages/vl-attention/docs/attention-transfer.md"


def test_the_table_is_on_the_page() -> None:
    assert timm_models.table(read_rows(timm_models.ROWS)) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("family", "name"),
    [("xcit", "xcit_large_24_p8_224"), ("deit", "deit3_base_patch16_224"), ("visformer", "visformer_small")],
)
def test_a_row_is_that_of_a_survey(family: str, name: str) -> None:
    committed = [row for row in read_rows(timm_models.ROWS) if row["example"] == name]
    assert timm_models.survey([name], family) == committed
    assert len(committed) == 1


def test_models_without_attention_have_no_row() -> None:
    assert timm_models.survey(["resnet10t"], "resnet") == []
