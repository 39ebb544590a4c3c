from .admitting import admit as admit
from .card import FIELDS as FIELDS
from .folder import MANIFEST as MANIFEST
from .lint import lint as lint
from .packing import submit as submit
from .verdict import Verdict as Verdict
from .verifying import Options as Options
from .verifying import verify as verify
