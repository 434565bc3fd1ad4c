"""`python -m vl_attention` is `vl-attention`."""

import sys

from vl_attention.cli import main

sys.exit(main())
