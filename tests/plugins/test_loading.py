"""What was hashed is what runs: classes are loaded from their sources, and say of themselves what was read there."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from suite import records
from suite.contract import DataSpec
from suite.errors import UserError
from suite.planning import Selection, make_plan
from suite.plugins import confirm, loading, registry, traceback_of
from suite.running.trial import run_trial
from tests.plugins.files import METHODS, first, write
from tests.projects import edit
from tests.toys import write_baseline, write_task

SPEC = DataSpec("digits", (1, 28, 28), 10, 1200)
HEAD = "from suite.contract import Baseline\n"


def code(cls: type, x: torch.Tensor) -> float:
    return float(cls(SPEC).encode(x)["z"][0, 0])


def test_a_class_is_loaded_with_its_helpers_absolute_relative_and_late(project: Path) -> None:
    cls = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    assert code(cls, torch.ones(1, 1, 28, 28)) == 2 * 7 * 3 * 5 * 1
    assert "helper" not in sys.modules  # nothing of it is left where another project's helper would be found


def test_what_was_hashed_is_what_runs_even_after_the_files_have_gone(project: Path) -> None:
    source = first(registry.resolve("baseline", "model", [str(project)]))
    source = pickle.loads(pickle.dumps(source))
    shutil.rmtree(project)
    assert code(registry.load(source), torch.ones(1, 1, 28, 28)) == 210


SPAWNING = """
import numpy
from torch.utils.data import DataLoader, Dataset
from suite.contract import Baseline
from scale import FACTOR

class Images(Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        from scale import FACTOR
        return FACTOR * self.x[i]

class Spawning(Baseline):
    def encode(self, x):
        images = Images(numpy.ones((2_000, 784), numpy.float32))  # more than a pipe holds
        loader = DataLoader(images, 1_000, num_workers=1, multiprocessing_context="spawn")
        return {"z": sum(batch.sum() for batch in loader).view(1, 1)}

    def decode(self, values): pass
"""


def test_a_process_that_a_model_spawns_finds_the_model_and_its_helpers(tmp_path: Path) -> None:
    (tmp_path / "spawning.py").write_text(SPAWNING)
    (tmp_path / "scale.py").write_text("FACTOR = 3\n")
    cls = registry.load(first(registry.resolve("baseline", str(tmp_path / "spawning.py"), [])))
    assert code(cls, torch.ones(1)) == 3 * 2_000 * 784


def test_a_warm_process_serves_the_changed_helper_and_keeps_the_old_class_whole(project: Path) -> None:
    old = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    edit(project / "helper.py", "2.0", "4.0")
    edit(project / "late.py", "1.0", "10.0")  # imported inside a method, after loading
    new = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    x = torch.ones(1, 1, 28, 28)
    assert (code(old, x), code(new, x), code(old, x)) == (210, 4200, 210)


def test_an_instance_survives_pickling_in_its_process(project: Path) -> None:
    model = registry.load(first(registry.resolve("baseline", "model", [str(project)])))(SPEC)
    assert pickle.loads(pickle.dumps(model)).width == 4


def test_a_model_inside_a_package_imports_as_python_would(tmp_path: Path) -> None:
    inner = tmp_path / "mypack" / "models"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("")
    (inner.parent / "shared.py").write_text("A = 2\n")
    (inner / "random.py").write_text("raise RuntimeError('not the standard library')\n")
    text = "import random\nimport mypack.shared\nfrom ..shared import A\nB = mypack.shared.A\n"
    path = write(inner, text + f"class Packed(Baseline):\n{METHODS}    total = A + B\n")
    source = first(registry.resolve("baseline", path))
    assert sorted(source.files) == [
        "mypack/__init__.py",
        "mypack/models/__init__.py",
        "mypack/models/mine.py",
        "mypack/shared.py",
    ]
    assert registry.load(source).total == 4


def test_a_project_module_on_the_python_path_is_part_of_the_closure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "farlib").mkdir(parents=True)
    (tmp_path / "lib" / "farlib" / "__init__.py").write_text("from .part import C\n")
    (tmp_path / "lib" / "farlib" / "part.py").write_text("C = 6\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    path = write(tmp_path, f"import farlib, numpy, json\nclass Far(Baseline):\n    c = farlib.C\n{METHODS}")
    source = first(registry.resolve("baseline", path))
    assert sorted(source.files) == ["farlib/__init__.py", "farlib/part.py", "mine.py"]
    assert registry.load(source).c == 6


def test_a_built_in_baseline_can_be_built_upon_and_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path, "from suite.baselines.vae import VAE\nclass Mine(VAE, Baseline):\n    pass\n")
    source = first(registry.resolve("baseline", path))
    assert "suite/baselines/vae.py" in source.files
    assert not any("contract" in name for name in source.files)  # the engine ends the closure
    assert registry.load(source)(SPEC).spec is SPEC


def test_weight_files_travel_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("42")
    text = "from pathlib import Path\nclass W(Baseline):\n    files = ('w.txt',)\n"
    path = write(tmp_path, text + f"    w = int((Path(__file__).parent / 'w.txt').read_text())\n{METHODS}")
    source = first(registry.resolve("baseline", path))
    (tmp_path / "w.txt").write_text("43")
    assert registry.load(source).w == 42
    (tmp_path / "w.txt").unlink()
    with pytest.raises(UserError, match=r"cannot read .*w\.txt"):
        registry.resolve("baseline", path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nonexistent_thing\nclass M(Baseline): pass\n",
            r"mine\.py:2: ModuleNotFoundError: .*nonexistent_thing",
        ),
        ("class M(Baseline):\n    x = 1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("import bad\nclass M(Baseline): pass\n", r"bad\.py:1: ZeroDivisionError"),
        ("class M(Baseline):\n    def encode(self, x): pass\n", r"mine\.py: M does not implement decode"),
        ("exit(3)\nclass M(Baseline): pass\n", r"mine\.py:2: the file calls exit"),
        ("class M(Baseline): pass\nM = 3\n", r"mine\.py: M is not a class that derives from"),
    ],
)
def test_a_file_that_does_not_import_or_breaks_the_contract_is_the_users_to_mend(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.py").write_text("1 / 0\n")
    source = first(registry.resolve("baseline", write(tmp_path, text)))
    with pytest.raises(UserError, match=message):
        registry.load(source)


def test_a_task_without_a_score_is_refused(tmp_path: Path) -> None:
    source = first(registry.resolve("task", write(tmp_path, "class T(Task): pass\n")))
    with pytest.raises(UserError, match="does not implement score"):
        registry.load(source)


def test_every_built_in_source_loads() -> None:
    for kind in ("baseline", "task"):
        for entry in registry.discover(kind).values():
            assert registry.load(registry.source(entry)).__name__ == entry.facts.attribute


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


# --- nothing that a key leaves out has a way into a model


def source(folder: Path, text: str) -> Any:
    (folder / "mine.py").write_text(text)
    return registry.resolve("baseline", str(folder / "mine.py"))[0]


def load(folder: Path, text: str) -> Any:
    return registry.load(source(folder, text))


#: Ways in which a file can look at itself; each gives a number.
LOOKS = {
    "its docstring": "len(__doc__ or '')",
    "its class's docstring": "len(Mine.__doc__ or '')",
    "a method's docstring": "len(Mine.encode.__doc__ or '')",
    "its file": "len(open(__file__).read())",
    "its source": "len(__import__('inspect').getsource(Mine))",
    "its lines": "len(__import__('linecache').getlines(__file__))",
    "its loader": "len(__loader__.get_data(__file__))",
    "its line numbers": "__import__('sys')._getframe().f_lineno",
    "where a method starts": "Mine.encode.__code__.co_firstlineno",
    "the columns of its code": "hash(tuple(Mine.encode.__code__.co_positions()))",
    "its name": "__name__",
    "the prefix of a text": "len(Mine.text)",
}

#: One file twice: as it is hashed, and with all that a hash leaves out.
PLAIN = (
    HEAD
    + """class Mine(Baseline):
    text = 'a'
    def encode(self, x): return {}
    def decode(self, values): pass
look = lambda: LOOK
"""
)
DRESSED = f"""'A docstring.'

# a comment
{HEAD}
class Mine( Baseline ):   # another
    'Of a class.'
    text = u'a'
    'of an attribute'

    def encode(self,
               x):
        'of a method'
        return {{ }}
    def decode(self, values): 'of another'; pass
look = (lambda:
    LOOK)
'the end'
"""


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_file_can_tell_nothing_from_what_its_key_leaves_out(tmp_path: Path, look: str) -> None:
    found = []
    for text in (PLAIN, DRESSED):
        loading.forget()
        one = source(tmp_path, text.replace("LOOK", look))
        found.append((one.digest, sys.modules[registry.load(one).__module__].look()))
    assert found[0] == found[1]


def test_a_block_of_nothing_but_text_runs(tmp_path: Path) -> None:
    text = f"{HEAD}class Mine(Baseline):\n{METHODS}    def note(self):\n        'says nothing'\n"
    text += "if Mine:\n    'text'\nelse:\n    'text'\ntry:\n    'text'\nfinally:\n    'text'\n"
    assert load(tmp_path, text).note(None) is None


def test_the_place_of_an_engine_import_among_other_statements_changes_nothing(tmp_path: Path) -> None:
    body = f"class Mine(Baseline):\n    kind = str(Discrete)\n{METHODS}"
    before = source(tmp_path, f"{HEAD}from suite.contract import Discrete\nDiscrete = 3\n{body}")
    after = source(tmp_path, f"{HEAD}Discrete = 3\nfrom suite.contract import Discrete\n{body}")
    assert before.digest == after.digest
    assert registry.load(before).kind == registry.load(after).kind


def test_the_face_from_which_a_name_is_taken_changes_nothing(tmp_path: Path) -> None:
    text = HEAD + "try:\n    from {} import Subject as S\nexcept ImportError:\n    S = None\n"
    body = f"class Mine(Baseline):\n    kind = str(S)\n{METHODS}"
    here = source(tmp_path, text.format("suite.measuring") + body)
    elsewhere = source(tmp_path, text.format("suite") + body)
    assert here.digest == elsewhere.digest
    assert registry.load(here).kind == registry.load(elsewhere).kind != "None"


def test_a_name_that_no_face_of_the_engine_has_is_named_with_its_line(tmp_path: Path) -> None:
    text = f"{HEAD}\n\nfrom suite.contract import Discreet\nclass Mine(Baseline):\n{METHODS}"
    with pytest.raises(UserError, match=r"mine\.py:4: suite\.contract has no 'Discreet'; did you mean 'Discrete'"):
        load(tmp_path, text)


def test_two_star_imports_are_two_keys(tmp_path: Path) -> None:
    text = "from {} import *\nfrom suite.contract import Baseline\nclass Mine(Baseline): pass\n"
    assert (
        source(tmp_path, text.format("suite.contract")).digest
        != source(tmp_path, text.format("suite.measuring")).digest
    )


def trial(folder: Path, model: str) -> records.Record:
    """Runs the one cell of a model of ``folder / "toys"`` under a given secret and returns its record."""
    write_task(folder / "toys")
    workspace = tempfile.mkdtemp(dir=folder)
    paths = (str(folder / "toys"),)
    plan = make_plan(Selection(("error",), (model,), seeds=(0,), budget="smoke", paths=paths, workspace=workspace))
    done: list[records.Record] = []
    run_trial(dataclasses.replace(plan.trials()[0], noise="the same for all"), done.append)
    return done[0]


def test_a_model_whose_behaviour_stands_in_its_docstring_scores_as_its_key_says(tmp_path: Path) -> None:
    code = "if 'evil' in (type(self).__doc__ or ''): return {'z': 0 * x.flatten(1)[:, :4]}"
    file = write_baseline(tmp_path / "toys", "Sly", encode=code)
    text, scores = file.read_text(), []
    for docstring in ("good", "evil"):
        file.write_text(text.replace('    summary = "A toy."', f'    """{docstring}"""\n    summary = "A toy."'))
        record = trial(tmp_path, "sly")
        scores.append((record.status, record.key, record.metrics["error"]["value"]))
    assert scores[0] == scores[1]


# --- lines


def test_an_errors_lines_are_those_of_the_users_file(tmp_path: Path) -> None:
    text = (
        f'"""Docstring\nof two lines."""\n\n{HEAD}\n# comment\n@(lambda c: c)\n'
        'class Mine(Baseline):\n    """Text."""\n\n'
        "    def encode(self, x):\n        # comment\n\n        try:\n            return 1 / 0\n"
        "        except ZeroDivisionError as error:\n\n            raise ValueError('no') from error\n\n"
        "    def decode(self, values): pass\n"
    )
    lines = text.splitlines()
    cls = load(tmp_path, text)
    with pytest.raises(ValueError, match="no") as caught:
        cls(SPEC).encode(None)
    shown = traceback_of(caught.value)
    for statement in ("return 1 / 0", "raise ValueError('no') from error"):
        line = 1 + next(i for i, each in enumerate(lines) if statement in each)
        assert f'File "{tmp_path / "mine.py"}", line {line}, in encode\n    {statement}\n' in shown
    assert "suite_source_" not in shown


def test_an_error_that_explains_another_is_named_with_the_line_of_the_other(tmp_path: Path) -> None:
    methods = "    def encode(self, x):\n        return 1 / 0\n\n    def decode(self, values): pass\n"
    text = f"{HEAD}class Mine(Baseline):\n{methods}"
    found = source(tmp_path, text)
    with pytest.raises(ZeroDivisionError) as caught:
        registry.load(found)(SPEC).encode(None)
    told = ValueError("explained")
    assert loading.where(found, told) == found.origin
    told.__cause__ = caught.value
    line = 1 + next(i for i, each in enumerate(text.splitlines()) if "1 / 0" in each)
    assert loading.where(found, told).endswith(f"mine.py:{line}")


def test_a_helpers_error_is_named_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text('"""Text."""\n\n# comment\n\nX = 1 / 0\n')
    with pytest.raises(UserError, match=r"helper\.py:5: ZeroDivisionError"):
        load(tmp_path, f"import helper\n{HEAD}class Mine(Baseline):\n{METHODS}")


def test_an_error_that_only_compiling_finds_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.py:7: SyntaxError: 'return' outside function$"):
        load(tmp_path, f"'text'\n{HEAD}class Mine(Baseline):\n{METHODS}\nreturn 3\n")


# --- attributes


MINE = "class Mine(Baseline):\n"
META = "class Mine(Baseline, metaclass=M):\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{MINE}{METHODS}Mine.supervision = 'labels'\n", "supervision is 'none' in the text and 'labels'"),
        (f"{MINE}{METHODS}setattr(Mine, 'core', 'w')\n", "core is 'z' in the text and 'w'"),
        (f"{MINE}{METHODS}Mine.core = property(lambda s: 'b')\n", "core is 'z' in the text and a property"),
        (f"{MINE}    locals()['trains_on'] = 'grey'\n{METHODS}", "trains_on is 'binary'"),
        (f"{MINE}    if True:\n        supervision = 'semi'\n{METHODS}", "supervision is 'none'"),
        (f"{MINE}    core = 'a'\n    for core in 'b': pass\n{METHODS}", "core is 'a' in the text and 'b'"),
        (f"{MINE}    batch_size = 1\n{METHODS}Mine.batch_size = True\n", "batch_size is 1 in the text and True"),
        (f"def d(c):\n    c.core = 'w'\n    return c\n@d\n{MINE}{METHODS}", "core is 'z' in the text and 'w'"),
        (f"class S(str):\n    __eq__ = lambda a, b: True\n{MINE}{METHODS}Mine.core = S('q')\n", "and a S when"),
        (
            f"class M(type):\n    core = property(lambda c: 'q')\n{META}{METHODS}",
            "metaclass of Mine answers for its c",
        ),
        (f"class M(type):\n    def __getattribute__(c, n): return 'q'\n{META}{METHODS}", "metaclass of Mine answers"),
        (f"class M(type):\n    def __init__(c, *_): c.core = 'q'\n{META}{METHODS}", "core is 'z' in the text and 'q'"),
        ("class P:\n    core = 'q'\nclass Mine(*[P], Baseline):\n" + METHODS, "core is 'z' in the text and 'q'"),
    ],
)
def test_an_attribute_that_is_another_when_the_file_runs_is_named_with_both_values(
    tmp_path: Path, text: str, shown: str
) -> None:
    with pytest.raises(UserError, match=shown) as error:
        load(tmp_path, HEAD + text)
    assert "mine.py" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_task_says_of_itself_is_held_against_its_text(tmp_path: Path) -> None:
    text = "from suite.contract import Task\nclass Mine(Task):\n    version = 2\n    def score(self, subject): pass\n"
    (tmp_path / "mine.py").write_text(f"{text}Mine.official = True\n")
    found, _ = registry.resolve("task", str(tmp_path / "mine.py"))
    with pytest.raises(UserError, match=r"Mine\.official is False in the text and True when it runs"):
        registry.load(found)


def test_a_model_that_says_otherwise_than_its_class_is_named(tmp_path: Path) -> None:
    init = "    def __init__(self, spec):\n        super().__init__(spec)\n        self.supervision = 'labels'\n"
    found = source(tmp_path, f"{HEAD}class Mine(Baseline):\n{init}{METHODS}")
    model = registry.load(found)(SPEC)
    with pytest.raises(UserError, match=r"Mine\.supervision is 'none' in the text and 'labels' when it runs"):
        confirm(found, model)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("init", "self.supervision = 'labels'"),
        ("init", "type(self).supervision = 'labels'"),
        ("loss", "type(self).core = 'y'"),
    ],
)
def test_a_trial_of_a_model_that_says_otherwise_fails(tmp_path: Path, where: str, code: str) -> None:
    write_baseline(tmp_path / "toys", "Sly", **{where: code})
    record = trial(tmp_path, "sly")
    assert record.status == "failed"
    assert "in the text and" in record.reason


def test_parameters_of_the_run_are_those_of_the_key_whatever_the_model_does_with_them(tmp_path: Path) -> None:
    file = write_baseline(tmp_path / "toys", "Greedy", init="sizes.append(7)")
    file.write_text(file.read_text().replace("def __init__(self, spec):", "def __init__(self, spec, sizes=[1]):"))
    record = trial(tmp_path, "greedy")
    assert record.status == "ok", record.reason
    assert record.baseline_params == {"sizes": [1]} == record.ingredients["checkpoint"]["params"]


def test_a_model_can_still_be_given_its_own_source(tmp_path: Path) -> None:
    cls = load(tmp_path, f"{HEAD}class Mine(Baseline):\n    # gone\n{METHODS}")
    assert inspect.getsource(cls).startswith("class Mine(Baseline):\n\n    def encode")
