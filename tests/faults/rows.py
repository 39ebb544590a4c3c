"""All rows, in the order of the table."""

from tests.faults import drivers, workers  # noqa: F401
from tests.faults.findings import ROWS as ROWS
