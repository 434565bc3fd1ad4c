"""The public names of vl_ssl: the one list, which `__init__.py` imports lazily and type checkers read."""

from .__about__ import __version__ as __version__
from .collapse.lidar import lidar as lidar
from .collapse.meter import CollapseMeter as CollapseMeter
from .collapse.meter import collapse_report as collapse_report
from .collapse.report import CollapseReport as CollapseReport
from .collapse.spectra import alpha_req as alpha_req
from .collapse.spectra import cumulative_share as cumulative_share
from .collapse.spectra import effective_rank as effective_rank
from .collapse.spectra import explained_dimensions as explained_dimensions
from .collapse.spectra import nesum as nesum
from .collapse.spectra import participation_ratio as participation_ratio
from .collapse.spectra import rankme as rankme
from .collapse.spectra import spectrum_auc as spectrum_auc
from .collapse.spectra import stable_rank as stable_rank
