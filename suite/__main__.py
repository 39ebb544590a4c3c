"""``python -m suite``."""

import sys

from suite.cli.app import main

sys.exit(main())
