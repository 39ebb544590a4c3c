"""Takes docs/pictures/site-*.png, mlflow.png and board.png: pages and tables as a reader sees them.

``python -m docs.pictures.screens`` makes them from results/, with Debian's Chromium and its driver
(``apt-get install chromium chromium-driver``); names after it make these alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
SUITE = [sys.executable, "-m", "suite"]

#: Picture -> page of the site with the view in its address, width and height of the window, whether it is dark.
SITE = {
    "site-front": ("index.html", 1200, 1500, False),
    "site-board": ("board.html#q=vae&pin=vae&pin=conv_vae", 1200, 800, False),
    "site-model": ("models/vae.html", 1200, 1500, False),
    "site-task": ("tasks/reconstruction.html", 1200, 1200, False),
    "site-phone": ("board.html", 390, 800, False),
    "site-dark": ("board.html", 1200, 800, True),
}


@contextlib.contextmanager
def chromium(width: int, height: int, dark: bool = False) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        # a window has a least width; what is emulated has not
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield driver
    finally:
        driver.quit()


def site(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "site"
        subprocess.run([*SUITE, "site", str(out), "--workspace", str(RESULTS / "mnist")], check=True)
        for name in names:
            page, width, height, dark = SITE[name]
            file, _, view = page.partition("#")
            with chromium(width, height, dark) as driver:
                driver.get((out / file).as_uri() + (f"#{view}" if view else ""))
                time.sleep(3)
                driver.save_screenshot(str(HERE / f"{name}.png"))


def board() -> None:
    """The first command of the README, in a terminal's colours."""
    from rich.console import Console
    from rich.text import Text

    environment = {**os.environ, "COLUMNS": "120", "FORCE_COLOR": "1"}
    command = [*SUITE, "board", str(RESULTS / "mnist")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    console = Console(record=True, width=120, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(Text.from_ansi(printed))
    with tempfile.TemporaryDirectory() as folder, chromium(1180, 20 * printed.count("\n") + 40) as driver:
        page = Path(folder) / "board.html"
        page.write_text(console.export_html())
        driver.get(page.as_uri())
        driver.save_screenshot(str(HERE / "board.png"))


def mlflow() -> None:
    """MLflow's run table as `suite ui` opens it, for a store that `suite sync` has filled."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("records", "values"):
            (Path(folder) / kind).symlink_to(RESULTS / "mnist" / kind)
        subprocess.run([*SUITE, "sync", "--workspace", folder], check=True)
        ui = subprocess.Popen(
            [*SUITE, "ui", "--workspace", folder, "--port", str(port)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert ui.stdout is not None
            address = next(line.split(": ", 1)[1].strip() for line in ui.stdout if "http" in line)
            with chromium(1600, 900) as driver:
                driver.get(address)
                time.sleep(15)
                driver.save_screenshot(str(HERE / "mlflow.png"))
        finally:
            ui.send_signal(signal.SIGINT)
            ui.wait()


def main() -> None:
    names = sys.argv[1:] or [*SITE, "board", "mlflow"]
    if pages := [name for name in names if name in SITE]:
        site(pages)
    if "board" in names:
        board()
    if "mlflow" in names:
        mlflow()


if __name__ == "__main__":
    main()
