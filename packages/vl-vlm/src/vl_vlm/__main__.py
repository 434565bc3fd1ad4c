"""`python -m vl_vlm` is `vl-vlm`."""

import sys

from vl_vlm.cli import main

sys.exit(main())
