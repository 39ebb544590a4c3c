"""What no model needs is found with its file and line."""

from __future__ import annotations

import random

import pytest

from suite.checking.lint import (
    GIVEN,
    LARGE,
    LARGE_NAMES,
    LARGE_SOURCE,
    LARGE_STATEMENT,
    LARGE_TOGETHER,
    LARGEST_SOURCE,
    LOOK,
    REFUSED,
    lint,
)
from suite.plugins import built_in_folder

HEAD = '"""Docstring."""\n'


def found(text: str) -> list[tuple[str, int]]:
    return [(finding.kind, finding.line) for finding in lint({"model.py": (HEAD + text).encode()})]


def test_an_ordinary_model_is_found_nothing_in() -> None:
    assert found("import torch\n\nclass Model:\n    summary = 'a model'\n    sizes = (1, 2, 3)\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "import gc",
        "from os import path",
        "from safetensors.torch import load_file",
        "import safetensors",
        "y = torch.from_file('labels')",
        "w = torch.load('weights.pt')",
        "frame = error.__traceback__.tb_frame",
        "exec('1')",
        "from suite.data import load",
        "from suite.training import BUDGETS",
        "from suite import training",
        "import suite.measuring",
        "import suite; suite.training.BUDGETS.update(smoke=10**6)",
        "import sklearn; x = sklearn.datasets.load_digits()",
        "import sklearn as s; x = s.datasets.load_digits()",
        "import torch as t; t.load('weights')",
        "x = numpy.loadtxt('digits.csv.gz')",
        "x = pandas.read_csv('digits.csv.gz')",
        "from torch.utils._python_dispatch import _disable_current_modes",
        "with torch.utils._python_dispatch._disable_current_modes(): pass",
        "torch._C._log_api_usage_once('')",
        "getattr(torch, '_C')",
        "numpy.lib.npyio.DataSource('.').open('a')",
        "numpy.ctypeslib.load_library('c', '/')",
        "again = numpy.load('a')",
        "from torch import load",
        "import numba",
        "logging.FileHandler('a').stream",
        "random._os.listdir('/')",
        "operator.attrgetter('load')(torch)",
        "getattr(torch.serialization, 'os').stat('/')",
        "frame = operator.attrgetter('f_back.f_locals')(frame)",
        "of = operator.attrgetter('serialization.os')",
        "import posix",
        "from timeit import default_timer",
        "import posixpath",
        "import _weakrefset",
        "for act in (eval,): act('1')",
        "ask = exec",
        "[globals][0]()",
        "list(map(open, names))",
        "system = operator.attrgetter('sys')(dataclasses)",
    ],
)
def test_what_reaches_outside_is_refused_with_its_line(line: str) -> None:
    assert (REFUSED, 2) in found(line)


def test_a_large_literal_may_hold_weights_and_many_small_ones_may_too() -> None:
    assert found(f"W = {'1' * (LARGE + 1)!r}") == [(GIVEN, 2)]
    small = "W += " + repr("1" * (LARGE - 10))
    assert found("\n".join([small] * 3)) == []
    assert found("\n".join([small] * (LARGE_TOGETHER // LARGE + 2))) == [(GIVEN, 0)]
    assert found('"""' + "x" * (2 * LARGE_TOGETHER) + '"""') == [], "a text for readers"


@pytest.mark.parametrize(
    "text",
    [
        "def weights(data={}):\n    return data",
        "class W(dict, data={}):\n    pass",
        "with nothing({}) as data:\n    pass",
        "match x:\n    case {}:\n        pass",
        "@decorated({})\ndef f():\n    pass",
        "try:\n    pass\nexcept error({}):\n    pass",
    ],
)
def test_a_large_literal_is_seen_wherever_a_statement_holds_it(text: str) -> None:
    assert [kind for kind, _ in found(text.format(repr("1" * (LARGE + 1))))] == [GIVEN]


@pytest.mark.parametrize("written", ["({},)", "[{}]", "f({})", "{{{}}}"])
def test_names_that_are_said_again_and_again_may_hold_weights(written: str) -> None:
    data = random.Random(0).randbytes(2 * LARGE_STATEMENT)
    said = written.format(", ".join(f"v{byte:x}" for byte in data))
    assert (GIVEN, 2) in found(f"x = {said}")
    chains = ("".join("+-"[byte >> bit & 1] for bit in range(8)) + "1" for byte in data)
    assert (GIVEN, 2) in found(f"x = {written.format(', '.join(chains))}")


def _opaque(size: int) -> str:
    """Source of so many bytes, compressed or more, in statements none of which is large."""
    data = random.Random(0).randbytes(size)
    lines = (f"x = f({', '.join(f'v{byte:x}' for byte in data[i : i + 500])})" for i in range(0, size, 500))
    return "\n".join(lines)


def test_source_that_is_larger_than_models_are_is_shown_to_a_person_or_may_hold_weights() -> None:
    assert {(LOOK, 0), (GIVEN, 0)}.isdisjoint(found(_opaque(LARGE_SOURCE // 2)))
    assert (LOOK, 0) in found(_opaque(LARGE_SOURCE))
    assert (GIVEN, 0) in found(_opaque(LARGEST_SOURCE))


def test_what_files_hold_together_is_the_same_in_one_file_and_in_many() -> None:
    def kinds(texts: list[str]) -> set[str]:
        return {f.kind for f in lint({f"part{i}.py": text.encode() for i, text in enumerate(texts)}) if not f.line}

    literals = [f"W{i} = {'1' * (LARGE - 10)!r}" for i in range(LARGE_TOGETHER // LARGE + 2)]
    names = [f"f({', '.join(f'x{i}_{k:0200}=0' for k in range(9))})" for i in range(LARGE_NAMES // 1800 + 2)]
    opaque = _opaque(LARGEST_SOURCE).splitlines()
    for texts in (literals, names, opaque):
        assert kinds(["\n".join(texts)]) == kinds(texts) == {GIVEN}
    (finding,) = lint({f"part{i}.py": text.encode() for i, text in enumerate(literals)})
    assert finding.reason.startswith(f"literals of {sum(map(len, literals)) - 7 * len(literals):,} bytes in 10 files")


@pytest.mark.parametrize("name", ["fcntl", "os", "ctypes"])
def test_a_module_that_is_taken_from_another_is_that_module(name: str) -> None:
    assert found(f"from filelock._unix import {name}") == [(REFUSED, 2)]
    assert found(f"from filelock._unix import {name} as harmless") == [(REFUSED, 2)]
    assert found(f"from .helper import {name}") == [], "the helper is read as well"


def test_a_variable_may_be_called_as_a_function_of_pythons_is_and_is_not_called() -> None:
    assert found("class M:\n    def f(self, input):\n        return self.layer(input)") == []
    assert (REFUSED, 4) in found("class M:\n    def f(self, open):\n        return open('labels')")
    assert (REFUSED, 4) in found("class M:\n    def f(self, eval):\n        return self.layer(eval)")


@pytest.mark.parametrize("pattern", ["sys=found", "_python_dispatch=object(_disable_current_modes=found)"])
def test_an_attribute_that_a_pattern_takes_is_refused(pattern: str) -> None:
    assert (REFUSED, 4) in found(f"def f():\n    match torch:\n        case object({pattern}): return found")


@pytest.mark.parametrize(
    "line",
    [
        "frame = operator.attrgetter('_get' + 'frame')(module)",
        "y = operator.methodcaller(name)(module)",
        "from operator import methodcaller as m; y = m('load')(module)",
        "y = getattr(torch, 'from_' + 'file')",
        "getattr(self, f'layer{i}')",
        "y = functools.reduce(getattr, ('C', 'D'), torch)",
        "y = map(getattr, (torch,), names)",
        "def f(g=getattr): return g(torch, name)",
        "get = operator.attrgetter",
        "y = string.Formatter().get_field('0.x', (torch,), {})",
        "y = typing.get_type_hints(A)",
        "class A:\n    x: '(torch . _C)'",
        "import logging.config",
        "y = sympy.sympify(text)",
        "y = len.__self__",
    ],
)
def test_an_attribute_whose_name_is_not_written_out_is_refused(line: str) -> None:
    assert REFUSED in {kind for kind, _ in found(line)}


@pytest.mark.parametrize(
    "line",
    [
        "y = getattr(torch, 'relu')",
        "y = operator.attrgetter('mean')(q)",
        "summary = 'we inspect the code of threading'",
        "groups = {'gc': 'the global code', 'os': '3 units'}",
        "y = 'a {x} of {y:.3f}'.format(x=1, y=2)",
    ],
)
def test_names_that_are_written_out_and_prose_are_not(line: str) -> None:
    assert REFUSED not in {kind for kind, _ in found(line)}


@pytest.mark.parametrize(
    "line",
    [
        "@torch.library.custom_op('own::f', mutates_args=())\ndef f(x: Tensor) -> Tensor: return x",
        "from torch.library import Library",
        "from torch import library",
        "class T(Tensor):\n    @classmethod\n    def __torch_dispatch__(cls, *a): return a",
        "T = type('T', (Tensor,), {'__torch_dispatch__': f})",
    ],
)
def test_an_operator_of_ones_own_is_refused(line: str) -> None:
    assert REFUSED in {kind for kind, _ in found(line)}


def test_what_may_be_a_module_or_not_is_shown_to_a_person() -> None:
    assert found("from scipy import signal") == [(LOOK, 2)]
    assert found("from scipy.signal import convolve") == []


def test_a_file_is_the_suites_own_where_it_is_so_to_the_byte() -> None:
    own = (built_in_folder("baseline") / "vae.py").read_bytes()
    evil = b"import os\n"
    assert lint({"suite/baselines/vae.py": own + evil}) != []
    assert lint({"suite/baselines/vae.py": own}) == []
    assert [f.kind for f in lint({"suite/evil.py": evil})] == [REFUSED]


def test_a_layer_may_be_called_as_a_module_is() -> None:
    assert found("class M:\n    def f(self, x):\n        return self.gc(x)") == [(LOOK, 4)]
    assert (REFUSED, 2) in found("y = model.gc.get_objects()")


@pytest.mark.parametrize("name", sorted({source.stem for source in built_in_folder("baseline").glob("[a-z]*.py")}))
def test_no_model_of_the_suites_own_is_refused_or_said_to_hold_weights(name: str) -> None:
    text = (built_in_folder("baseline") / f"{name}.py").read_bytes()
    assert {finding.kind for finding in lint({"model.py": text})} <= {LOOK}


def test_names_may_hold_weights_too() -> None:
    names = [f"x{i:05}{'0' * 50}" for i in range(LARGE_NAMES // 50)]
    assert found("class W:\n" + "\n".join(f"    {name}: int" for name in names)) == [(GIVEN, 0)]
    assert (GIVEN, 0) in found("f(" + ", ".join(f"{name}=0" for name in names) + ")")
    assert found("\n".join(f"f({names[0]})" for _ in names)) == [], "one name, often"


@pytest.mark.parametrize("line", ["torch.serialization.os.getcwd()", "torch.serialization.__dict__['x']"])
def test_a_module_that_another_holds_is_reached_without_an_import(line: str) -> None:
    assert (REFUSED, 2) in found(line)


def test_state_of_a_module_is_shown_to_a_person() -> None:
    assert found("KEPT = []") == [(LOOK, 2)]
