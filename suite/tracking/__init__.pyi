from . import server as server
from .tracker import OFF as OFF
from .tracker import Tracker as Tracker
from .tracker import database as database
from .tracker import open_tracker as open_tracker
from .tracker import resolve_uri as resolve_uri
from .tracker import run_tables as run_tables
from .tracker import sync as sync
