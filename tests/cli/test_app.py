from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import suite
from suite.cli.app import COMMANDS, app, main
from suite.records import read_all
from tests.cli.calling import run
from tests.toys import write_baseline, write_task

HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy")


def test_help_names_every_command_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    listed = [
        line.split()[0]
        for line in out.partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert listed == list(COMMANDS)


def test_help_list_and_plan_import_nothing_heavy() -> None:
    code = (
        "import sys; from suite.cli.app import main\n"
        f"heavy = set({HEAVY!r})\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert main(['list']) == main(['plan']) == main(['--help']) == 0\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_python_dash_m_suite_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "suite", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"latent-suite {suite.__version__} (engine {suite.ENGINE_VERSION})\n"


def shown(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, **options)


def test_an_output_that_is_full_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = shown("list", stdout=full)
    assert (done.returncode, done.stderr) == (2, "error: cannot write the output: No space left on device\n")


def test_a_path_that_the_system_refuses_is_one_line() -> None:
    done = shown("status", "--workspace", "w" * 300, stdout=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (2, f"error: cannot use {'w' * 300}: File name too long\n")


@pytest.mark.parametrize(
    "closed", [*(pytest.param(one, marks=pytest.mark.journey) for one in ("2>&-", ">&-")), "<&- >&- 2>&-"]
)
def test_a_run_whose_streams_are_closed_goes_on_and_no_file_takes_what_it_prints(tmp_path: Path, closed: str) -> None:
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy", init="print('from a model'); print('and its errors', file=sys.stderr)")
    command = f"{sys.executable} -m suite run --path toys -t error -b toy --seeds 0 --budget smoke --executor local"
    done = subprocess.run(["/bin/sh", "-c", f"{command} --trust --tracking off {closed}"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert len(read_all(tmp_path / "runs")) == 1
    assert re.fullmatch(r"\d+ on \S+", (tmp_path / "runs" / ".lock").read_text())


def test_a_model_that_forks_does_not_run_the_rest_of_the_command_twice(tmp_path: Path) -> None:
    write_task(tmp_path / "toys")
    write_baseline(
        tmp_path / "toys", "Toy", loss="os.path.exists('forked') or (open('forked', 'w').close(), os.fork())"
    )
    command = [sys.executable, "-m", "suite", "run", "--path", "toys", "-t", "error", "-b", "toy", "--seeds", "0-1"]
    command += ["--budget", "smoke", "--executor", "local", "--trust", "--tracking", "off"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0
    assert done.stdout.count("2 cells: 2 run now") == 1
    assert len(list((tmp_path / "runs" / "records").iterdir())) == 2


def test_an_arrow_that_the_output_cannot_hold_is_no_error() -> None:
    folder = Path(__file__).parents[2] / "results" / "mnist"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = shown("board", str(folder), stdout=subprocess.PIPE, env=environment, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nats ?" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "modles"),
        ("list", "--format", "jsn"),
        ("show", "vea"),
        ("plan", "--seeds", "4-0"),
        ("plan", "--seeds", "x"),
        ("plan", "--budget", ""),
        ("sync", "-w", "nowhere"),
        ("plan", "--budget", "quikc"),
        ("plan", "--path", "nowhere"),
        ("plan", "--file", "nowhere.yaml"),
    ],
)
def test_a_users_mistake_is_one_line_on_stderr_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_unknown_option_or_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "plan", "--sed", "1")[0] == 2
    assert run(capsys, "plna")[0] == 2


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.plugins.registry.discover", interrupt)
    assert run(capsys, "list", "tasks")[0] == 130


def test_a_program_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("suite.plugins.registry.discover", fail)
    with pytest.raises(RuntimeError):
        main(["list", "tasks"])


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(app.registered_commands) == len(COMMANDS)
    for name in COMMANDS:
        assert run(capsys, name, "--help")[0] == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("suite run --task linear", ["linear_probe"]),
        ("suite run --baseline conv_", ["conv_autoencoder", "conv_vae"]),
        ("suite board --dataset omni", ["omniglot"]),
        ("suite run --budget q", ["quick"]),
    ],
)
def test_names_are_completed_by_the_tab_key(words: str, found: list[str]) -> None:
    environment = {**os.environ, "_SUITE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    assert shown(stdout=subprocess.PIPE, env=environment).stdout.split() == found


def test_a_process_that_a_model_spawns_runs_no_second_suite() -> None:
    importlib.import_module("suite.__main__")  # as ``multiprocessing`` does in the child of ``python -m suite``
