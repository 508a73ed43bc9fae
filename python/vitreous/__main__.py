"""``python -m vitreous`` is the same as ``vitreous``."""

import sys

from vitreous.cli import main

sys.exit(main())
