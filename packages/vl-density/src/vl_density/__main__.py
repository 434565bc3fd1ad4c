"""`python -m vl_density` is `vl-density`."""

import sys

from vl_density.cli import main

sys.exit(main())
