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
            ["CORRUPTIONS", "PUBLISHED_SIZES", "SEVERITIES", "SHIFTS", "SHIFT_NAMES", "Shift", "corrupt", "shift"],
        ),
        (
            "vl_core.data",
            [
                *("BUILTIN_NAMES", "ImageContents", "ImageDataset", "ImageError", "ImageFault", "Normalization"),
                *("ParquetImages", "RowGroupCache", "UndividedError", "balanced_order", "check_images"),
                *("check_source", "checked_ids", "checked_image", "find_images", "fit_image"),
                *("image_batch", "image_position", "image_positions", "image_to_tensor"),
                *("is_single_image", "open_contents", "open_dataset", "open_image_column", "read_image"),
                *("refuse_faults", "select_splits"),
            ],
        ),
        (
            "vl_core.files",
            [
                *("DEFLATE_RATIO", "check_sizes", "gunzip", "limit_network", "parse_json", "read_array"),
                *("read_json", "read_tensors", "tensor_names"),
            ],
        ),
        ("vl_core.features", ["ProbeResult", "extract", "knn_accuracy", "linear_probe"]),
        ("vl_core.noise", ["gaussian", "make_keys", "philox"]),
        (
            "vl_core.training",
            [
                *(
                    "Loss",
                    "Precision",
                    "ResumableBatchSampler",
                    "Shuffled",
                    "Stateful",
                    "StopTraining",
                    "TrainingSettings",
                    "WeightEMA",
                ),
                *("computing", "fit", "shuffled_index", "weights_digest"),
            ],
        ),
        (
            "vl_core.charts",
            [
                *("BAR", "COLORS", "CORRECT", "GRAY", "INK", "LIGHT", "MARKERS", "NEUTRAL", "PAGE_WIDTH", "SMALL"),
                *("TEXT", "TITLE", "WRONG", "draw_intervals", "in_words", "label_text", "legend_text", "new_figure"),
                *("save_figure", "show_image", "smallest_text", "spread", "style_axes", "wrapped_label"),
            ],
        ),
        (
            "vl_core.intervals",
            [
                *("Difference", "Interval", "bootstrap", "bootstrap_all", "difference_p_value", "paired_difference"),
                *("resampled", "student_interval"),
            ],
        ),
        (
            "vl_core.cli",
            [
                *("Check", "Command", "Count", "DeviceName", "FolderPath", "Groups", "ImageSource", "Metavar"),
                *("ModelName", "Range", "RunPath", "Seed", "check_values", "note_on_interruption", "run_command"),
            ],
        ),
        ("vl_core.devices", ["checked_device", "default_device", "find_device", "input_weight"]),
        ("vl_core.progress", ["progress_bar", "quiet_libraries"]),
        (
            "vl_core.runs",
            [
                *("Checkpoint", "RunFolder", "atomic_write", "check_run_folder", "file_sha256", "files_sha256"),
                "read_metrics",
            ],
        ),
        ("vl_core.runs.processes", ["ProcessGroup", "current_process"]),
        (
            "vl_core.tables",
            ["csv_line", "open_csv", "percent", "printable", "text_table", "utf8", "write_parquet", "write_rows"],
        ),
    ],
)
def test_public_names(module, names):
    public = importlib.import_module(module)
    assert sorted(public.__all__) == names
    assert all(hasattr(public, name) for name in names)
    values = [getattr(public, name) for name in names]
    assert all(value.__doc__ for value in values if inspect.isroutine(value) or inspect.isclass(value))
