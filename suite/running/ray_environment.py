"""The only file that imports Ray, and what Ray reads from the environment before it is imported and started."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Iterator
from typing import Any

from suite.files import PACKAGE

#: For every Ray.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C raises KeyboardInterrupt, as everywhere else
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # resume is "run what has no record", never Tuner.restore
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}

#: The same for a Ray that is started here.
PRIVATE = {
    "MALLOC_ARENA_MAX": "1",  # Tune gives each trial a thread, whose own heap would hold 60 MB when the trial is over
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial that was granted no GPU sees none
    "RAY_AUTH_MODE": "token",
    "RAY_enable_autoscaler_v2": "1",  # there is nothing to scale, and the first one takes a second to end
    "RAY_memory_monitor_refresh_ms": "0",  # its kills would abort the whole run
    "RAY_prestart_worker_first_driver": "0",  # Tune's actors ask for an environment that such workers lack
    "RAY_raylet_client_connect_timeout_milliseconds": "20",  # a node misses its own store at first; not for a second
    "RAY_raylet_client_num_connect_attempts": "500",
    "RAY_worker_niceness": "0",  # Ray would give trials the lowest priority
}

#: The same for a Ray that is joined: it is there or it is not.
JOINED = {"RAY_NUM_REDIS_GET_RETRIES": "5"}


def load_ray() -> Any:
    """Returns Ray's module; importing it takes a third of a second.

    Raises:
        ImportError: If it is not installed here.
    """
    import ray
    import ray.util.scheduling_strategies

    return ray


def load_tune() -> Any:
    """Returns Ray Tune's module; importing it takes a second."""
    from ray import tune

    return tune


@contextlib.contextmanager
def ray_environment(private: bool) -> Iterator[None]:
    """Sets what Ray reads from the environment, and puts the environment back.

    Args:
        private: Whether Ray is started here, for this run alone.
    """
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    if not private:
        os.environ.update(JOINED)
    else:
        os.environ.update(PRIVATE, RAY_AUTH_TOKEN=_token())
        os.environ["PYTHONPATH"] = python_path()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def _token() -> str:
    """A secret for this process's own clusters, which listen on every interface; Ray reads it once."""
    return secrets.token_hex(32)


def python_path() -> str:
    """Returns where workers find the suite: a checkout need not be installed."""
    root = str(PACKAGE.parent)
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
