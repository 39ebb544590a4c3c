"""A clean interpreter for every trial: whatever the trial before changed is put back.

Warm workers save seconds per trial at the price of shared state. Reset here: random streams, torch's and
NumPy's global switches, the environment, working folder, import path, signal handlers, global hooks, and
functions or methods of torch, NumPy, the standard library's usual suspects and the suite that were replaced.
Beyond it: state inside C extensions, objects of other libraries changed in place, threads left running.
Whoever needs more than this asks for a process per trial (``--fresh``).
"""

from __future__ import annotations

import contextlib
import gc
import operator
import os
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite import seeds

#: Modules whose functions and methods are watched: these and everything below them.
WATCHED = ("torch", "numpy", "suite", "random", "math", "builtins", "time", "json", "os", "functools")

#: Large, no part of any number here, and some of it rewrites itself when it is first used.
UNWATCHED = ("torch._dynamo", "torch._inductor", "torch.compiler", "torch.distributed", "torch.fx", "torch.onnx")

#: torch's global switches: name -> (getter, setter, value in a trial).
SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "threads": (torch.get_num_threads, torch.set_num_threads, 1),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled, True),
    "deterministic": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, False),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    "autocast (cpu)": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
        False,
    ),
    "autocast (cuda)": (
        lambda: torch.is_autocast_enabled("cuda"),
        lambda on: torch.set_autocast_enabled("cuda", on),
        False,
    ),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit, sys.getrecursionlimit()),
}

#: Attributes that are plain flags: (object, name, value in a trial). Deterministic kernels, honest float32.
FLAGS: tuple[tuple[Any, str, Any], ...] = (
    (torch.backends.cudnn, "enabled", True),
    (torch.backends.cudnn, "benchmark", False),
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn, "allow_tf32", False),
    (torch.backends.mkldnn, "enabled", True),
    (torch.utils.deterministic, "fill_uninitialized_memory", True),
)

_CALLABLES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    type(np.random.seed),  # a function compiled by Cython
    np.ufunc,
    staticmethod,
    classmethod,
    property,
    type,
)

#: Torch itself decorates some of its functions on first use, and marks what it decorated.
_LAZY_MARKS = ("__wrapped__", "_torchdynamo_orig_callable")


@contextlib.contextmanager
def isolated(seed: int, threads: int = 1) -> Iterator[list[str]]:
    """Runs the block in a process that looks as if no trial had run in it, then puts everything back.

    Args:
        seed: Of the trial; the global streams are derived from it (the suite's own numbers don't use them).
        threads: Of torch, in the calling thread.

    Yields:
        A list that takes, at the end, the functions and methods that the block had replaced.
    """
    replaced: list[str] = []
    before = Interpreter()
    _clean(seed, threads)
    try:
        yield replaced
    finally:
        replaced += before.restore()


def _clean(seed: int, threads: int) -> None:
    _switch({name: threads if name == "threads" else value for name, (_, _, value) in SWITCHES.items()})
    for owner, name, value in FLAGS:
        setattr(owner, name, value)
    torch.set_default_device(None)
    torch.set_flush_denormal(False)
    random.seed(seeds.derive(seed, "python"))
    np.random.seed(seeds.derive(seed, "numpy") % 2**32)
    torch.manual_seed(seeds.derive(seed, "torch"))
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _switch(values: dict[str, Any]) -> None:
    for name, (get, put, _) in SWITCHES.items():
        if get() != values[name]:  # some setters import half of torch
            put(values[name])


class Interpreter:
    """The state of this process as it is now, to return to."""

    def __init__(self) -> None:
        self.environ = dict(os.environ)
        self.path = list(sys.path)
        self.cwd = Path.cwd()
        self.filters = list(warnings.filters)
        self.numpy_errors = np.geterr()
        self.streams = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        self.switches = {name: get() for name, (get, _, _) in SWITCHES.items()}
        self.flags = [getattr(owner, name) for owner, name, _ in FLAGS]
        self.default_device = torch.get_default_device()
        self.handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
        self.hooks = [(hooks, dict(hooks)) for hooks in _global_hooks()]
        self.kl = dict(torch.distributions.kl._KL_REGISTRY)
        self.owners = [(name, owner, dict(vars(owner))) for name, owner in _watched()]

    def restore(self) -> list[str]:
        """Puts back everything captured; returns the names of functions that had been replaced."""
        _switch(self.switches)
        replaced = self._undo_patches()
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
        sys.path[:] = self.path
        os.chdir(self.cwd)
        warnings.filters[:] = self.filters  # type: ignore[index]
        np.seterr(**self.numpy_errors)
        random.setstate(self.streams[0])
        np.random.set_state(self.streams[1])
        torch.set_rng_state(self.streams[2])
        for (owner, name, _), value in zip(FLAGS, self.flags, strict=True):
            setattr(owner, name, value)
        torch.set_default_device(None if self.default_device.type == "cpu" else self.default_device)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.handlers.items():
                signal.signal(number, handler)
        for hooks, before in self.hooks:
            if hooks != before:
                hooks.clear()
                hooks.update(before)
        return replaced

    def _undo_patches(self) -> list[str]:
        replaced = []
        for owner_name, owner, before in self.owners:
            now = vars(owner)
            if len(now) == len(before) and not any(map(operator.is_not, now.values(), before.values())):
                continue
            for name in _replaced(now, before):
                known = any(hasattr(now.get(name), mark) for mark in _LAZY_MARKS)
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(owner, name, before[name])
                    replaced += [] if known else [f"{owner_name}.{name}"]
            for name in _shadowing(owner, before):
                delattr(owner, name)
                replaced.append(f"{owner_name}.{name}")
        registry = torch.distributions.kl._KL_REGISTRY
        if registry != self.kl:
            registry.clear()
            registry.update(self.kl)
            torch.distributions.kl._KL_MEMOIZE.clear()
        return replaced


def _watched() -> Iterator[tuple[str, Any]]:
    """Yields the loaded modules of ``WATCHED`` and the classes they define, each once."""
    for module_name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType) or module_name.partition(".")[0] not in WATCHED:
            continue
        if module_name.startswith(UNWATCHED):
            continue
        yield module_name, module
        for name, value in list(vars(module).items()):
            if issubclass(type(value), type) and value.__module__ == module_name:
                yield f"{module_name}.{name}", value


def _shadowing(owner: Any, before: dict[str, Any]) -> list[str]:
    """Returns the methods that a class has been given since, over those that it inherits."""
    if not issubclass(type(owner), type):
        return []
    new = [name for name, value in list(vars(owner).items()) if name not in before and _is_callable(value)]
    return [name for name in new if any(name in vars(base) for base in owner.__mro__[1:])]


def _replaced(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Returns the functions, methods and classes that are no longer what they were; other values may change."""
    return [name for name, value in before.items() if now.get(name) is not value and _is_callable(value)]


def _is_callable(value: Any) -> bool:
    return issubclass(type(value), _CALLABLES)  # isinstance would ask lazy objects for their class


def _global_hooks() -> Iterator[dict[Any, Any]]:
    """Yields torch's registries of hooks that apply to every module or optimizer."""
    for module in (sys.modules["torch.nn.modules.module"], sys.modules["torch.optim.optimizer"]):
        for name, value in vars(module).items():
            if name.startswith("_global_") and isinstance(value, dict):
                yield value
