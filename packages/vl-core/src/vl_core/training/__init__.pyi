"""The public names of vl_core.training: the one list, which `__init__.py` imports lazily and type checkers read."""

from ._checkpoints import Stateful as Stateful
from ._ema import WeightEMA as WeightEMA
from ._loop import Loss as Loss
from ._loop import StopTraining as StopTraining
from ._loop import computing as computing
from ._loop import fit as fit
from ._order import ResumableBatchSampler as ResumableBatchSampler
from ._order import Shuffled as Shuffled
from ._order import shuffled_index as shuffled_index
from ._settings import Precision as Precision
from ._settings import TrainingSettings as TrainingSettings
from ._weights import weights_digest as weights_digest
