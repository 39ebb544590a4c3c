"""The ``suite`` command. Every subcommand lives in its own file; nothing heavy is imported to show help."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from suite.errors import MachineFault, UserError
from suite.version import ENGINE_VERSION, __version__

#: In the order a user needs them.
COMMANDS = (
    "list",
    "show",
    "plan",
    "run",
    "tune",
    "board",
    "compare",
    "plot",
    "site",
    "status",
    "clean",
    "merge",
    "rekey",
    "ui",
    "sync",
    "new",
    "check",
    "submit",
    "verify",
)

#: What the system says of paths that a user chose, and of a disk that is full.
REFUSED = (errno.ENOSPC, errno.ENAMETOOLONG, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ELOOP)

app = typer.Typer(
    help="Measure what the latents of image models are worth: run tasks on baselines, print the board.",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latent-suite {__version__} (engine {ENGINE_VERSION})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    _function = getattr(import_module(f"suite.cli.{_name}"), _name)
    app.command(_name, short_help=_function.__doc__.partition("\n")[0])(_function)


def command() -> None:
    """Runs the command line of this process and ends it with the exit code, whatever threads a model has left."""
    _open_streams()
    code = main()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _open_streams() -> None:
    """Opens what the caller has closed of the standard streams, onto nothing.

    The next file to be opened would take the number of one of them, and get all that is printed, or be closed with it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code: 0 ok, 1 some cell failed, 2 the user's mistake, 130 Ctrl-C.

    Where Ray dies in the midst of a run the process ends with 3.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an arrow that a terminal cannot show costs no board
    try:
        app(args=None if arguments is None else [*arguments], prog_name="suite")
    except (UserError, MachineFault) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        return 2
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        act = "write" if error.errno == errno.ENOSPC else "use"
        typer.echo(f"error: cannot {act} {error.filename or 'the output'}: {error.strerror}", err=True)
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # Python would try again to write the rest, at its end
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0
