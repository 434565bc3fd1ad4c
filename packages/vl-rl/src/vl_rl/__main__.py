"""`python -m vl_rl` is `vl-rl`."""

import sys

from vl_rl.cli import main

sys.exit(main())
