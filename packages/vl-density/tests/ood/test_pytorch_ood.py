"""The same numbers as the metrics of pytorch-ood, or other ones for a known reason."""

from __future__ import annotations

import numpy as np
import pytest
from vl_density.ood.metrics import aupr, auroc, fpr95, to_pytorch_ood

metrics = pytest.importorskip("pytorch_ood.metrics", reason="pytorch-ood comes with the extra vl-density[ood]")
rng = np.random.default_rng(0)
CASES = {
    "far apart": (rng.normal(0, 1, 300), rng.normal(1, 1, 200)),
    "heavy ties": (rng.integers(0, 6, 300).astype(float), rng.integers(1, 8, 200).astype(float)),
    "near 1,500 nats": (rng.normal(1500, 0.001, 300), rng.normal(1500.0015, 0.001, 200)),
    "taken for typical": (rng.normal(1500, 50, 300), rng.normal(1400, 50, 200)),
    "nothing but ties": (np.ones(30), np.ones(20)),
}


def area_by_trapezoids(inside, outside):
    """Area under the line through the points of precision and recall, which begins at precision 1."""
    points = [(0.0, 1.0)]
    for threshold in sorted({*inside, *outside}, reverse=True):
        true, false = (outside >= threshold).sum(), (inside >= threshold).sum()
        points.append((true / len(outside), true / (true + false)))
    recall, precision = np.array(points).T
    return np.trapezoid(precision, recall)


@pytest.mark.filterwarnings("ignore:AUTC is undefined for constant")
@pytest.mark.parametrize("name", CASES)
def test_metrics_are_those_of_pytorch_ood(name):
    inside, outside = CASES[name]
    found = metrics.OODMetrics().update(*to_pytorch_ood(inside, outside)).compute()
    assert found["AUROC"] == pytest.approx(auroc(inside, outside), abs=1e-12)
    assert found["FPR95TPR"] == pytest.approx(fpr95(inside, outside), abs=1e-12)
    # By trapezoids there; the average precision has no line between points, since no threshold is there.
    assert found["AUPR-OUT"] == pytest.approx(area_by_trapezoids(inside, outside), abs=1e-12)
    if name == "nothing but ties":
        assert (aupr(inside, outside), found["AUPR-OUT"]) == (pytest.approx(0.4), pytest.approx(0.7))
    else:
        assert aupr(inside, outside) == pytest.approx(found["AUPR-OUT"], abs=0.05)
