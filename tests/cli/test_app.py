from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import suite
from suite import records
from suite.cli import options
from suite.cli.app import COMMANDS, app, main
from suite.errors import UserError
from suite.planning.plan import make_plan
from suite.planning.selection import Selection
from tests.projects import edit, write_project

HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUITE_WORKSPACE", str(tmp_path / "runs"))
    return tmp_path / "runs"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


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


# --- list


def test_list_shows_tasks_baselines_and_datasets(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "nats" in rows["reconstruction"]
    assert "labels" in rows["conditional_vae"]
    assert rows["conv_autoencoder"].split()[1] == "autoencoder"
    assert rows["conv_autoencoder"].endswith("; architecture=conv")
    assert "yes" in rows["digits"]
    assert "1200" in rows["digits"]


def test_show_prints_a_baselines_card(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "conv_vae")
    assert code == 0
    assert "trained on the negative ELBO ([1], eq. 10)" in out


def test_list_says_which_datasets_are_on_disk(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3.gz", "t10k-labels-idx1"):
        (raw / f"{name.removesuffix('.gz')}-ubyte{'.gz' * name.endswith('.gz')}").touch()
    _, out, _ = run(capsys, "list", "datasets", "--data-root", tmp_path, "--format", "json")
    there = {"digits": True, "mnist": True, "fashion_mnist": False, "kmnist": False, "emnist": False, "omniglot": False}
    inked = {f"colored:{name}": found for name, found in there.items()}
    assert {d["name"]: d["on disk"] for d in json.loads(out)["datasets"]} == there | inked


def test_list_as_json_holds_one_kind_with_parameters_and_the_users_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_project(tmp_path)
    _, out, _ = run(capsys, "list", "baselines", "--path", tmp_path, "--format", "json")
    found = json.loads(out)
    assert list(found) == ["baselines"]
    small = next(item for item in found["baselines"] if item["name"] == "small")
    assert (small["family"], small["supervision"], small["params"]) == ("other_model", "labels", {"width": 1})


# --- show


def test_show_prints_a_tasks_card_from_the_class_with_metrics_and_anchors(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "reconstruction")
    assert "official" in out
    assert "floor" in out
    _, out, _ = run(capsys, "show", "reconstruction", "--format", "json")
    shown = json.loads(out)
    assert (shown["primary"], shown["version"]) == ("nats", 3)
    assert shown["card"]
    assert "nats" in [metric["name"] for metric in shown["metrics"]]
    assert "floor" in [anchor["name"] for anchor in shown["anchors"]]


def test_show_prints_a_baselines_groups_parameters_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "vae:latent=5", "--format", "json")
    shown = json.loads(out)
    assert shown["params"]["latent"] == 5
    assert shown["core"] == "z"
    assert "z" in shown["groups"]
    assert "Kingma" in shown["paper"]
    assert shown["closure"] == ["vae.py"]
    _, out, _ = run(capsys, "show", "vae")
    assert "Kingma" in out
    assert "latent=20" in out


def test_show_prints_a_file_and_a_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_project(tmp_path)
    _, out, _ = run(capsys, "show", tmp_path / "other_model.py")
    assert "small" in out
    assert "large" in out
    _, out, _ = run(capsys, "show", "digits", "--format", "json")
    assert json.loads(out)["sizes"] == [1200, 197, 400]


def test_show_finds_a_record_by_the_start_of_its_key(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    metrics = {"nats": {"value": 99.5, "unit": "nats", "direction": "lower", "se": 0.1, "n": 400}}
    for key in ("abcda" * 12 + "0000", "abcde" * 12 + "0000"):
        records.write(workspace, records.Record(key, "ok", "reconstruction", "vae", "digits", 7, metrics=metrics))
    _, out, _ = run(capsys, "show", "abcda")
    assert "99.5" in out
    assert json.loads(run(capsys, "show", "abcda", "--format", "json")[1])["seed"] == 7
    assert "2 records" in run(capsys, "show", "abcd")[2]
    for prefix in ("0000", "abcda" * 12 + "0001"):
        assert "no record" in run(capsys, "show", prefix)[2]


# --- plan


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    code, out, _ = run(capsys, "plan", *arguments, "--format", "json")
    assert code == 0
    return json.loads(out)


def test_plan_shows_states_reasons_and_what_is_left_to_run(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project")
    options = ("-t", "measure", "-b", "model", "-b", "small", "--path", project, "--seeds", "0-4")
    plan = make_plan(Selection(("measure",), ("model",), seeds=(0, 1), paths=(str(project),), workspace=str(workspace)))
    for cell in plan.cells:
        done = cell.ended(plan.baselines["model"], plan.tasks["measure"], "ok", cost={"score_seconds": 60})
        records.write(workspace, done)
    code, out, _ = run(capsys, "plan", *options)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["measure", "model", "digits", "0-1", "done"] in rows
    assert ["measure", "model", "digits", "2-4", "missing", "?", "not", "run"] in rows
    assert "10 cells: 2 done, 8 missing; 8 to run in 8 trials" in out
    assert plan_of(capsys, *options)["counts"] == {"done": 2, "missing": 8}


def test_plan_explains_a_stale_cell_by_the_dict_behind_its_key_and_what_changed(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project")
    options = ("-t", "measure", "-b", "model", "--path", project, "--seeds", "0")
    plan = make_plan(Selection(("measure",), ("model",), seeds=(0,), paths=(str(project),), workspace=str(workspace)))
    records.write(workspace, plan.cells[0].ended(plan.baselines["model"], plan.tasks["measure"], "ok"))
    edit(project / "transitive.py", "1.0", "1.1")
    (cell,) = plan_of(capsys, *options, "--explain")["cells"]
    assert cell["state"] == "stale"
    assert cell["changed"] == ["baseline source changed (transitive.py)"]
    assert cell["stale record"] == plan.cells[0].key
    assert set(cell["ingredients"]["checkpoint"]["baseline"]) >= {"class", "model.py", "transitive.py"}
    _, out, _ = run(capsys, "plan", *options, "--explain")
    assert '"engine": ' in out
    assert "baseline source changed (transitive.py)" in out


def test_plan_takes_its_selection_from_a_file_and_options_override_it(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    file = tmp_path / "board.yaml"
    file.write_text("tasks: reconstruction\nbaselines: [vae, pca]\nseeds: 0-1\nbudget: smoke\n")
    cells = plan_of(capsys, "--file", file)["cells"]
    assert {(c["baseline"], c["seed"], c["budget"]) for c in cells} == {
        (baseline, seed, "smoke") for baseline in ("vae", "pca") for seed in (0, 1)
    }
    cells = plan_of(capsys, "--file", file, "--baseline", "copy", "--seeds", "5", "--budget", "long")["cells"]
    assert [(c["task"], c["baseline"], c["seed"], c["budget"]) for c in cells] == [
        ("reconstruction", "copy", 5, "long")
    ]


def test_a_corrupt_record_is_a_warning_on_stderr(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    key = make_plan(Selection(("linear_probe",), ("pca",), seeds=(0,), workspace=str(workspace))).cells[0].key
    (workspace / "records").mkdir(parents=True)
    records.record_path(workspace, key).write_text("{")
    _, out, err = run(capsys, "plan", "-t", "linear_probe", "-b", "pca", "--seeds", "0")
    assert err.startswith("warning: corrupt record")
    assert "1 missing" in out


def test_options_that_are_not_given_leave_the_defaults() -> None:
    assert options.SelectionOptions().selection() == Selection()
    with pytest.raises(UserError, match="did you mean 'json'"):
        options.check_format("jso")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(app.registered_commands) == len(COMMANDS)
    for name in COMMANDS:
        assert run(capsys, name, "--help")[0] == 0
