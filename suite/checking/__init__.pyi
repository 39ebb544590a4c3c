from .check import check_file as check_file
