"""Faults played to whole runs: what each costs, what it leaves, and what a user sees. ``python -m tests.faults``."""
