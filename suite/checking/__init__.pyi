from .check import check_file as check_file
from .lint import GIVEN as GIVEN
from .lint import REFUSED as REFUSED
from .lint import Finding as Finding
from .lint import lint as lint
