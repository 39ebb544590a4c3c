"""What ``make benchmark`` publishes: the figures and the machine, without the machine's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Writes the table beside the JSON file, where that is the published one."""
    target = Path(config.option.benchmark_json).resolve()
    if target.parent == ROOT / "results":
        target.with_suffix(".md").write_text(page(output_json))


def page(report: dict[str, Any]) -> str:
    """The report as a table in Markdown."""
    machine, commit = report["machine_info"], report["commit_info"]
    cpu = machine.get("cpu", {})
    lines = [
        "# Benchmarks",
        "",
        "`make benchmark`, on a machine with nothing else to do; medians, one thread a side unless said.",
        "",
        f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores,"
        f" Python {machine['python_version']},"
        f" commit {str(commit.get('id'))[:12]}{' and changes' if commit.get('dirty') else ''},"
        f" {report['datetime'][:10]}.",
        "",
        "| benchmark | figures |",
        "| --- | --- |",
    ]
    for entry in report["benchmarks"]:
        figures = ", ".join(f"{name} {_shown(value)}" for name, value in entry["extra_info"].items())
        lines.append(f"| {entry['name'].removeprefix('test_').replace('_', ' ')} | {figures} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
