from .halving import TIMES as TIMES
from .run import tune as tune
from .run import tuned as tuned
from .search import Candidate as Candidate
from .search import Search as Search
