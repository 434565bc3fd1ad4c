"""The public names of vl_core.corruptions: the one list, which `__init__.py` imports lazily and type checkers read."""

from ._corrupt import corrupt as corrupt
from ._functions import CORRUPTIONS as CORRUPTIONS
from ._functions import SEVERITIES as SEVERITIES
from ._functions import SHIFT_NAMES as SHIFT_NAMES
from ._shift import SHIFTS as SHIFTS
from ._shift import Shift as Shift
from ._shift import shift as shift
from ._strengths import PUBLISHED_SIZES as PUBLISHED_SIZES
