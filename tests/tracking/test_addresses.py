"""Where a store is, and that nobody is shown its password."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import tracking
from suite.errors import UserError
from suite.records.store import write
from suite.tracking.addresses import database, first_line, masked, resolve_uri, shown
from tests.tracking.test_tracker import make

SECRET = "s3cr@t/w:rd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"postgresql://me:{SECRET}@db:5432/runs", "postgresql://me:***@db:5432/runs"),
        (f"cannot reach 'http://me:{SECRET}@there:5000' now", "cannot reach 'http://me:***@there:5000' now"),
        ("https://s3cret@there/path", "https://***@there/path"),
        ("postgresql+psycopg://db/runs?user=me&password=s3cret&sslmode=on", None),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str | None) -> None:
    expected = "postgresql+psycopg://db/runs?user=me&password=***&sslmode=on" if shown is None else shown
    assert masked(text) == expected


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="*'\""), min_size=6))
def test_no_password_is_shown_however_it_is_written(password: str) -> None:
    uri = f"postgresql://me:{quote(password, safe='')}@db/runs"
    text = masked(f"no login with {password} at {uri}", uri)
    assert password not in text
    assert quote(password, safe="") not in text


@given(st.text(min_size=6))
def test_the_address_and_the_errors_of_a_store_hide_any_password_that_its_uri_holds(password: str) -> None:
    uri = f"postgresql://me:{password}@db/runs"
    assert shown(uri) == "postgresql://me:***@db/runs"
    assert first_line(ValueError(f"no login at {uri}"), uri) == "no login at postgresql://me:***@db/runs"
    assert password not in first_line(ValueError(f"{uri!r} failed with {{'password': {password!r}}}"), uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http:/me:s3cret@there", "http:***@there"),
        ("me:s3cret@there:5000", "me:***@there:5000"),
        ("http://me@firm.org:s3cret@there", "http://me@firm.org:***@there"),
        ("https://s3 cret@there/path", "https://***@there/path"),
        ("https://there/?api_key=it's a secret&x=1", "https://there/?api_key=***&x=1"),
        ("http://me:t@there:5000", "http://me:***@there:5000"),
        ("sqlite:////runs/a:b@c/mlflow.db", "sqlite:////runs/a:b@c/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("off", "off"),
    ],
)
def test_a_mistyped_or_odd_address_is_shown_without_its_password_too(uri: str, expected: str) -> None:
    assert shown(uri) == expected


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://host", "postgresql://host/db", "databricks"])
def test_of_an_address_without_a_password_nothing_is_hidden(uri: str) -> None:
    text = f"cannot reach {uri}/api/2.0: refused"
    assert masked(text, uri) == text


@pytest.mark.parametrize("name", ["what?", "50%", "50%25", "#1", "a b"])
def test_the_workspaces_own_store_lies_in_the_workspace_whatever_its_name(tmp_path: Path, name: str) -> None:
    from sqlalchemy.engine import make_url

    workspace = tmp_path / name
    uri = resolve_uri(None, workspace)
    assert database(uri) == workspace / "mlflow.db"
    assert make_url(uri).database == str(workspace / "mlflow.db")


def test_a_workspace_of_an_odd_name_keeps_its_runs_with_it(tmp_path: Path) -> None:
    workspace = tmp_path / "50% of what?#1"
    write(workspace, make())
    assert tracking.sync(workspace).written == 1
    assert {path.name for path in tmp_path.iterdir()} == {workspace.name}
    assert (workspace / "mlflow.db").exists()
    assert list((workspace / "artifacts").rglob("probe.json"))


@pytest.fixture
def away(tmp_path: Path) -> str:
    write(tmp_path, make())
    return f"http://me:{quote(SECRET, safe='')}@127.0.0.1:9"


def test_no_error_names_the_password(tmp_path: Path, away: str) -> None:
    for call in (
        lambda: tracking.sync(tmp_path, away),
        lambda: tracking.run_tables(away),
        lambda: resolve_uri(f"file://me:{SECRET}@there", tmp_path),
    ):
        with pytest.raises(UserError, match=r"me:\*\*\*@") as told:
            call()
        assert told.value.__cause__ is None
    tracker = tracking.Tracker(away, tmp_path)
    tracker.log(make())
    assert tracker.close(30) == 1
    assert not [text for text in (tracker.uri, tracker.problem) if SECRET in text or quote(SECRET, safe="") in text]


def holds(folder: Path, secret: str, least: int = 5) -> list[Path]:
    """Returns the files below a folder that hold a password, as it is or as it stands in a URI."""
    forms = (secret.encode(), quote(secret, safe="").encode())
    files = {}
    for path in (Path(place) / name for place, _, names in os.walk(folder) for name in names):
        with contextlib.suppress(OSError):  # what is there for a moment alone
            if path.is_file():
                files[path] = path.read_bytes()
    assert len(files) >= least
    return [path for path, content in files.items() if any(form in content for form in forms)]


@pytest.mark.journey
@pytest.mark.parametrize(
    ("executor", "given"), [("local", "argument"), ("local", "environment"), ("ray", "environment")]
)
def test_a_run_prints_and_keeps_no_password(tmp_path: Path, away: str, executor: str, given: str) -> None:
    command = [sys.executable, "-m", "suite", "run", "-t", "reconstruction", "-b", "pca:components=2", "--seeds", "0"]
    command += ["--budget", "smoke", "--executor", executor, "--workspace", str(tmp_path)]
    command += ["--tracking", away] if given == "argument" else []
    with tempfile.TemporaryDirectory(prefix="s") as scratch:  # Ray's sockets have no room for a longer path
        env = os.environ | {"TMPDIR": scratch, "RAY_TMPDIR": scratch, "HOME": scratch, "PGPASSWORD": SECRET}
        env |= {"MLFLOW_TRACKING_URI": away} if given == "environment" else {}
        out = Path(scratch) / "out.txt"
        with out.open("wb") as pipe:
            run = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, cwd=tmp_path, env=env)
        most = 0
        while run.poll() is None:  # Ray's logs go with its end
            assert holds(Path(scratch), SECRET, least=0) == []
            most = max(most, sum(path.suffix in {".log", ".out", ".err"} for path in Path(scratch).rglob("*")))
            time.sleep(0.3)
        assert executor == "local" or most > 4
        assert b"me:***@127.0.0.1:9" in out.read_bytes()
        assert holds(tmp_path, SECRET) == []
        assert holds(Path(scratch), SECRET, least=1) == []


def test_the_search_for_passwords_finds_one(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).write_text(f"me:{quote(SECRET, safe='')}@there" if name == "c" else name)
    assert holds(tmp_path, SECRET) == [tmp_path / "c"]
