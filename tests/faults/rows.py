"""All rows, in the order of the table."""

from tests.faults import workers, trials, drivers, nodes, storage, mirrors  # noqa: F401, I001
from tests.faults.findings import ROWS as ROWS
