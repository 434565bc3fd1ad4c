"""The examples of the methods' pages run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from vl_ssl import SiameseMethod

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not DOCS.exists(), reason="the pages are not in the distribution")
@pytest.mark.parametrize("page", ["simsiam", "byol", "moco-v3", "nnsiam", "simclr", "vicreg"])
def test_examples_run_and_give_gradients(page):
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(example, names)
    assert isinstance(names["method"], SiameseMethod)
    assert names["output"].loss.isfinite()
    assert any(parameter.grad is not None for parameter in names["method"].parameters())
