"""Test modules import `explorer_hostile_web` from beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
