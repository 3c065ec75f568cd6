"""``python -m rlnas`` is the command ``rlnas``."""

import sys

from rlnas.cli import main

sys.exit(main())
