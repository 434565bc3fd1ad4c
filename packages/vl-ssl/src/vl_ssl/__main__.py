"""`python -m vl_ssl` is `vl-ssl`."""

import sys

from vl_ssl.cli import main

sys.exit(main())
