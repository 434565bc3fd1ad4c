"""The public names of vl_rl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .fourier.algorithms import FourierA2C as FourierA2C
from .fourier.algorithms import FourierDDPG as FourierDDPG
from .fourier.algorithms import FourierDQN as FourierDQN
from .fourier.algorithms import FourierPPO as FourierPPO
from .fourier.algorithms import FourierSAC as FourierSAC
from .fourier.algorithms import FourierTD3 as FourierTD3
from .fourier.extractors import FourierCnnExtractor as FourierCnnExtractor
from .fourier.features import FourierFeatures as FourierFeatures
from .hindsight.callback import HindsightCallback as HindsightCallback
from .hindsight.environment import MultiTaskEnv as MultiTaskEnv
from .hindsight.evaluation import TaskEvaluation as TaskEvaluation
from .hindsight.evaluation import evaluate_tasks as evaluate_tasks
from .hindsight.policy import TaskExtractor as TaskExtractor
from .hindsight.replay_buffer import GeneralizedHindsightReplayBuffer as GeneralizedHindsightReplayBuffer
from .hindsight.tasks import TaskFamily as TaskFamily
from .hindsight.tasks import Transitions as Transitions
from .hippo.hippo import HiPPO as HiPPO
from .hippo.policies import HierarchicalActorCriticPolicy as HierarchicalActorCriticPolicy
from .hippo.policies import HierarchicalMultiInputPolicy as HierarchicalMultiInputPolicy
from .hippo.rollout_buffer import HierarchicalRolloutBuffer as HierarchicalRolloutBuffer
