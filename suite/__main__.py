"""``python -m suite``."""

from suite.cli.app import command

if __name__ == "__main__":  # a process that a model spawns imports this file as well
    command()
