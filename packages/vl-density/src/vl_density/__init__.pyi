"""The public names of vl_density: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .models.density import AutoregressiveDensity as AutoregressiveDensity
from .models.pixel_cnn import PixelCNN as PixelCNN
from .models.pixel_cnn_pp import PixelCNNPP as PixelCNNPP
from .models.transformer import ImageTransformer as ImageTransformer
from .ood.likelihoods import log_probs as log_probs
from .ood.likelihoods import mutate as mutate
from .ood.metrics import METRICS as METRICS
from .ood.metrics import Interval as Interval
from .ood.metrics import aupr as aupr
from .ood.metrics import auroc as auroc
from .ood.metrics import bootstrap as bootstrap
from .ood.metrics import fpr95 as fpr95
from .ood.metrics import to_pytorch_ood as to_pytorch_ood
from .ood.scores import WAIC as WAIC
from .ood.scores import InputComplexity as InputComplexity
from .ood.scores import LikelihoodRatio as LikelihoodRatio
from .ood.scores import NegativeLogLikelihood as NegativeLogLikelihood
from .ood.scores import OODScore as OODScore
from .ood.scores import Typicality as Typicality
from .quantization import bits_per_dim as bits_per_dim
from .quantization import dequantize as dequantize
from .quantization import quantize as quantize
from .training.likelihood import train_density as train_density
