"""The example of a flow: a density that integrates to one, and scores that tell digits apart."""

from __future__ import annotations

import sys

import pytest
import torch
from workspace import ROOT

zuko = pytest.importorskip("zuko", reason="the example has flows of zuko, which no package needs")
sys.path.append(str(ROOT / "packages/vl-density/examples"))

import flow_scores  # noqa: E402


def test_the_density_of_a_value_integrates_to_one():
    torch.manual_seed(0)
    flow = zuko.flows.NSF(1, transforms=2)
    x = (torch.arange(100_000) + 0.5)[:, None] / 100_000
    with torch.no_grad():
        inside = flow_scores.log_density(flow, x).exp().mean().item()
    # Its logits end at 0.005 and 0.995, and what lies beyond is left.
    assert inside == pytest.approx(1, abs=0.02)
    assert inside < 1


def test_the_example_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["flow_scores.py", "--updates", "30", "--size", "4"])
    flow_scores.main()
    lines = capsys.readouterr().out.splitlines()
    bits = float(lines[0].split()[0])
    assert 3 < bits < 10
    assert [line.split(":")[0] for line in lines[1:]] == ["digits", "strokes", "flips", "shirts"]
