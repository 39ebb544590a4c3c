from __future__ import annotations

from suite.planning.cells import Cell
from suite.plugins.source import Source

KEY = "0123456789abcdef" * 4


def test_a_new_record_says_what_was_run_on_which_machine() -> None:
    baseline = Source("baseline", "vae", "VAE", "vae.py", {}, "d", "vae.py", {"family": "vae", "supervision": "labels"})
    task = Source("task", "t", "T", "t.py", {}, "d", "t.py", {"version": 3, "official": True, "primary": "nats"})
    cell = Cell("t", {}, "vae", {"latent": 2}, "digits", 4, "quick", "float32", KEY, "c" * 64, {"task": "x"})
    made = cell.ended(baseline, task, "failed", reason="two\nlines", threads=2)
    assert (made.key, made.seed, made.task_version, made.supervision) == (KEY, 4, 3, "labels")
    assert made.reason == "two lines"
    assert made.env["threads"] == 2
    assert made.env["python"].startswith("3.")
    assert made.finished.endswith("+00:00")
