from __future__ import annotations

import json
from importlib import metadata

from packaging.version import Version

import suite
from suite import version
from tests.test_direction import ROOT


def test_the_package_says_the_version_it_was_installed_with() -> None:
    assert suite.__version__ == version.__version__
    assert Version(metadata.version("latent-suite")) == Version(version.__version__)


def test_the_engine_s_version_is_the_one_of_the_golden_numbers() -> None:
    golden = json.loads((ROOT / "tests" / "files" / "golden.json").read_text())
    assert suite.ENGINE_VERSION == version.ENGINE_VERSION == golden["engine"]
