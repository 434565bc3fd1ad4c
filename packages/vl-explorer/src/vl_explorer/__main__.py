"""`python -m vl_explorer` is `vl-explorer`."""

import sys

from vl_explorer.cli import main

sys.exit(main())
