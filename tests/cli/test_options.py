from __future__ import annotations

import pytest

from suite.cli import options
from suite.errors import UserError
from suite.planning.selection import Selection


def test_options_that_are_not_given_leave_the_defaults() -> None:
    assert options.SelectionOptions().selection() == Selection()
    with pytest.raises(UserError, match="did you mean 'json'"):
        options.check_format("jso")
