"""``python -m suite``."""

from suite.cli.app import command

command()
