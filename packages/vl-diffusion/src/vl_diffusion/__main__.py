"""`python -m vl_diffusion` is `vl-diffusion`."""

import sys

from vl_diffusion.cli import main

sys.exit(main())
