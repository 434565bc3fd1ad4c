"""Put the experiments of this package on the path, where tests import scripts by name."""

from __future__ import annotations

import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
sys.path += [str(EXPERIMENTS), *(str(study) for study in sorted(EXPERIMENTS.iterdir()) if study.is_dir())]
