from .apart import check_apart as check_apart
from .check import check_file as check_file
