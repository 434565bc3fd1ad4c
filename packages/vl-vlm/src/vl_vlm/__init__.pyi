"""The public names of vl_vlm: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.evaluate import predict as predict
from .evaluation.evaluate import rescore as rescore
from .evaluation.intervals import bootstrap_interval as bootstrap_interval
from .evaluation.intervals import paired_bootstrap as paired_bootstrap
from .evaluation.intervals import sign_test as sign_test
from .evaluation.results import Comparison as Comparison
from .evaluation.results import EvaluationResult as EvaluationResult
from .evaluation.results import MetricRow as MetricRow
from .evaluation.results import compare as compare
from .evaluation.scorers.baselines import ConstantBaseline as ConstantBaseline
from .evaluation.scorers.baselines import UnigramBaseline as UnigramBaseline
from .evaluation.scorers.dual_encoder import from_dual_encoder as from_dual_encoder
from .evaluation.scorers.scorer import Scorer as Scorer
from .evaluation.scorers.transformers_scorer import from_transformers as from_transformers
from .evaluation.tasks.classification import ClassificationTask as ClassificationTask
from .evaluation.tasks.pairs import SugarCrepeTask as SugarCrepeTask
from .evaluation.tasks.pairs import WinogroundTask as WinogroundTask
from .evaluation.tasks.retrieval import RetrievalTask as RetrievalTask
from .evaluation.tasks.task import Task as Task
