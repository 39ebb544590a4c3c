from .executor import Execution as Execution
from .executor import run_local as run_local
from .interrupt import interruptible as interruptible
from .run import Interrupted as Interrupted
from .run import Outcome as Outcome
from .run import execute as execute
from .workspace import holder as holder
from .workspace import locked as locked
