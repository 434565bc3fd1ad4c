"""The installed distribution and the imported package are one and the same, and the public names are these."""

import importlib
import inspect
from importlib.metadata import version

import pytest
import vl_core


def test_version_matches_the_installed_metadata():
    assert vl_core.__version__ == version("vl-core")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("vl_core", ["__version__"]),
        (
            "vl_core.corruptions",
            ["CORRUPTIONS", "PUBLISHED_SIZES", "SEVERITIES", "SHIFTS", "Shift", "corrupt", "shift"],
        ),
        ("vl_core.features", ["ProbeResult", "extract", "knn_accuracy", "linear_probe"]),
        ("vl_core.noise", ["gaussian", "make_keys", "philox"]),
        (
            "vl_core.training",
            [
                *("Loss", "Precision", "ResumableBatchSampler", "Shuffled", "TrainingSettings", "WeightEMA"),
                *("computing", "fit", "shuffled_index"),
            ],
        ),
        ("vl_core.runs", ["Checkpoint", "RunFolder", "atomic_write"]),
    ],
)
def test_public_names(module, names):
    public = importlib.import_module(module)
    assert sorted(public.__all__) == names
    assert all(hasattr(public, name) for name in names)
    values = [getattr(public, name) for name in names]
    assert all(value.__doc__ for value in values if inspect.isroutine(value) or inspect.isclass(value))
