from .halving import TIMES as TIMES
from .search import Candidate as Candidate
from .search import Search as Search
from .tune import tune as tune
from .tune import tuned as tuned
