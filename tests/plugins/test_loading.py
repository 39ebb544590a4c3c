"""Loaded sources are forgotten between trials, whatever other threads do meanwhile."""

from __future__ import annotations

import sys
import types

import pytest

from suite.plugins import loading


def test_every_loaded_source_is_forgotten_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"{loading.PREFIX}one", f"{loading.PREFIX}one.part", "another"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    loading.forget()
    assert [name for name in sys.modules if name.startswith(loading.PREFIX)] == []
    assert "another" in sys.modules


def test_a_module_that_another_thread_imports_meanwhile_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(str):
        """A module's name; whoever looks at it is in the middle of another thread's import."""

        def startswith(self, *_: object) -> bool:  # type: ignore[override]
            monkeypatch.setitem(sys.modules, f"imported_meanwhile_{len(sys.modules)}", types.ModuleType("meanwhile"))
            return False

    monkeypatch.setitem(sys.modules, Busy("busy"), types.ModuleType("busy"))
    monkeypatch.setitem(sys.modules, f"{loading.PREFIX}one", types.ModuleType("one"))
    loading.forget()
    assert f"{loading.PREFIX}one" not in sys.modules
    assert any(name.startswith("imported_meanwhile") for name in list(sys.modules))
