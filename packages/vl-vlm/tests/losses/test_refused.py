"""Bad input: one line that names the argument, what was expected, and what came."""

from __future__ import annotations

import pytest
import torch
from vl_vlm import InfoNCELoss, SigmoidLoss, dense_info_nce, dense_sigmoid_loss, info_nce, sigmoid_loss

X = torch.eye(4, 3)
NAN = X.clone().index_fill_(0, torch.tensor([2]), float("nan"))
IDS = torch.arange(4)
REFUSED = {
    "list": (TypeError, "images must be a floating tensor .* got list", {"images": [[1.0]]}),
    "integers": (TypeError, "texts must be a floating tensor .* got torch.int64", {"texts": X.long()}),
    "one vector": (ValueError, r"images must have shape \(rows, width\).* got \(3,\)", {"images": X[0]}),
    "empty": (ValueError, r"texts must have shape .* got \(0, 3\)", {"texts": X[:0]}),
    "width": (ValueError, "texts must have width 3 like images, got 2", {"texts": X[:, :2]}),
    "negatives' width": (ValueError, "negatives must have width 3 like images, got 2", {"negatives": X[:, :2]}),
    "types": (ValueError, "texts must be torch.float32 on cpu like images, got torch.float64", {"texts": X.double()}),
    "rows": (ValueError, "texts must have 4 rows like images, got 3; give positives", {"texts": X[:3]}),
    "NaN": (ValueError, "images must be finite, got NaN .* in 1 of 4 rows, the first is row 2", {"images": NAN}),
    "NaN in negatives": (ValueError, "negatives must be finite", {"negatives": NAN}),
    "scale zero": (ValueError, "scale must be above 0, got 0", {"scale": 0.0}),
    "scale NaN": (ValueError, "scale must be finite, got nan", {"scale": torch.tensor(float("nan"))}),
    "scales": (ValueError, r"scale must be one number, got shape \(4,\)", {"scale": torch.ones(4)}),
    "scale text": (TypeError, "scale must be a number or a tensor of one element, got str", {"scale": "100"}),
    "no pair of ids": (TypeError, r"positives must be a pair \(image_ids, text_ids\), got Tensor", {"positives": IDS}),
    "float ids": (TypeError, "positives of texts must be an int64 tensor", {"positives": (IDS, IDS.float())}),
    "ids too short": (ValueError, r"positives of texts must have shape \(4,\)", {"positives": (IDS, IDS[:3])}),
    "rows of ids": (ValueError, r"positives of texts must have shape \(4,\)", {"positives": (IDS, IDS[:, None])}),
    "ids below -1": (ValueError, "positives of images must be at least 0", {"positives": (IDS[:, None] - 2, IDS)}),
    "negative ids": (ValueError, "positives of images must be at least 0, got -1", {"positives": (IDS - 1, IDS)}),
}  # fmt: skip
ONLY_TILED = {
    "tile zero": (ValueError, "tile must be at least 1, got 0", {"tile": 0}),
    "tile fraction": (TypeError, "tile must be an integer, got float", {"tile": 1.5}),
}
ONLY_INFO_NCE = {
    "direction": (ValueError, "direction must be one of 'both', .* got 'rows'", {"direction": "rows"}),
    "no positives": (ValueError, "positives must make at least one image and", {"positives": (IDS, IDS + 9)}),
}  # fmt: skip


def cases():
    for loss in (info_nce, sigmoid_loss, dense_info_nce, dense_sigmoid_loss):
        refused = REFUSED | (ONLY_TILED if "dense" not in loss.__name__ else {})
        refused |= ONLY_INFO_NCE if "info" in loss.__name__ else {}
        for name, case in refused.items():
            yield pytest.param(loss, *case, id=f"{loss.__name__}: {name}")


@pytest.mark.parametrize(("loss", "kind", "message", "changed"), list(cases()))
def test_says_what_is_wrong(loss, kind, message, changed):
    with pytest.raises(kind, match=message) as caught:
        loss(**({"images": X, "texts": X, "scale": 2.0} | changed))
    assert "\n" not in str(caught.value)


def test_modules_refuse_as_the_functions_do():
    for module in (InfoNCELoss(), SigmoidLoss()):
        with pytest.raises(TypeError, match="images must be a floating tensor"):
            module([1.0], X)
        with pytest.raises(ValueError, match="images must be finite"):
            module(NAN, X)
    with pytest.raises(ValueError, match="scale must be above 0 and at most max_scale=100, got 101"):
        InfoNCELoss(scale=101)
    with pytest.raises(ValueError, match="bias must be finite, got inf"):
        sigmoid_loss(X, X, 1.0, float("inf"))


def test_unchecked_features_give_nan():
    assert info_nce(NAN, X, 1.0, check=False).isnan()
    assert sigmoid_loss(NAN, X, 1.0, check=False).isnan()
