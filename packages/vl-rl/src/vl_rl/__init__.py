"""Learned Fourier features, generalized hindsight and HiPPO on stable-baselines3.

The public names are listed in `__init__.pyi`. A name's module is imported on first use, because importing torch takes
seconds and the command should start at once. Only gymnasium is imported here, which is how it learns the names of our
environments.
"""

import lazy_loader

from vl_rl.envs.registration import register_envs

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

register_envs()
