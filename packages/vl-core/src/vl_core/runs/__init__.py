"""Run records: configuration, metrics and checkpoints in one folder; an interrupted run resumes."""

from vl_core._atomic import atomic_write
from vl_core.runs._checkpoint import Checkpoint
from vl_core.runs._digests import file_sha256, files_sha256
from vl_core.runs._folder import RunFolder, check_run_folder, read_metrics

__all__ = ["Checkpoint", "RunFolder", "atomic_write", "check_run_folder", "file_sha256", "files_sha256", "read_metrics"]
