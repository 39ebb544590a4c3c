from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from suite import records as store
from suite.boards.board import board
from suite.boards.frame import load_records
from suite.boards.rows import rows_of
from suite.errors import UserError
from tests.factories import record, write_records
from tests.pages.sites import NASTY, Page, workspace, write

MODELS = (("a", 9.0), ("b", 8.0))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspace(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def site(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    assert write(records, out) == sum(path.is_file() for path in out.rglob("*"))
    return out


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_page_is_well_formed_and_names_its_language_title_and_main_part(site: Path) -> None:
    assert len(pages(site)) == 4 + 15 + 5
    for file in pages(site):
        page = Page(file)
        assert page.open == [], file
        assert len(page.ids()) == len(set(page.ids())), file
        tags = [tag for tag, _ in page.seen]
        assert ("html", {"lang": "en"}) in page.seen
        assert tags.count("h1") == tags.count("main") == 1 <= tags.count("title"), file
        assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.seen if tag == "th")


def test_every_link_leads_to_a_file_of_the_site_and_to_a_place_that_is_there(site: Path) -> None:
    ids = {file: set(Page(file).ids()) for file in pages(site)}
    for file in pages(site):
        for link in Page(file).links():
            if link == "data:,":
                continue
            path, _, fragment = link.partition("#")
            target = (file.parent / unquote(path)).resolve() if path else file
            assert target.is_file(), f"{file}: {link}"
            assert target.is_relative_to(site.resolve())
            if fragment and "=" not in fragment:
                assert fragment in ids[target], f"{file}: {link}"


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for file in [*pages(site), *site.glob("*.css"), *site.rglob("*.js")]:
        text = file.read_text()
        assert not re.search(r"https?:|//[a-z0-9.-]+\.[a-z]{2,}/|@import", text), file
        assert "url(" not in text or file.name == "images.js", file


def cells(site: Path) -> dict[str, dict[str, list[dict[str, str | None]]]]:
    """Section's title -> model -> the attributes of its cells, in the order of the board."""
    found: dict[str, dict[str, list[dict[str, str | None]]]] = {}
    section, model = "", ""
    for tag, attributes in Page(site / "board.html").seen:
        if tag == "section" and "data-dataset" in attributes:
            section = f"{attributes['data-dataset']} {attributes['data-budget']}"
        elif tag == "tr" and "data-m" in attributes:
            model = attributes["data-m"] or ""
            found.setdefault(section, {})[model] = []
        elif tag == "td" and model:
            found[section][model].append(attributes)
    return found


def test_the_numbers_are_the_board_s(site: Path, records: Path) -> None:
    about = json.loads(re.search(r'id="about">(.*?)</script>', Page(site / "board.html").text)[1])  # type: ignore[index]
    shown = cells(site)
    columns = {f"{s['title'].split(' · ')[0]} quick": [c["task"] for c in s["columns"]] for s in about}
    assert columns["digits quick"][0] == "reconstruction"
    assert columns["digits quick"][-1] == "spectrum"
    checked = 0
    for row in rows_of(board(load_records(records))):
        section = f"{row.dataset} {row.budget}"
        found = shown[section][row.model][-3 - len(columns[section]) : -3][columns[section].index(row.task)]
        if np.isnan(row.value):
            assert "data-v" not in found
            assert found["class"] == "why"
        else:
            assert float(found["data-v"] or "nan") == row.value
            assert float(found.get("data-h") or "nan") == pytest.approx(row.half, nan_ok=True)
            checked += 1
    assert checked > 50


def test_ties_are_shown_as_ties_and_a_missing_score_with_its_reason(site: Path) -> None:
    text = Page(site / "board.html").text
    assert re.search(r'class="rank tie">\d+–\d+<', text)
    assert "failed: Diverged: step 37: loss is nan_1" in text
    assert "not run" in text
    front = Page(site / "index.html").text
    assert front.index("reconstruction</a>") < front.index("linear_probe</a>")
    assert "spectrum</a><br>" not in front


def test_what_comes_from_a_record_is_escaped_wherever_it_stands(site: Path) -> None:
    for file in pages(site):
        text = file.read_text()
        assert "<b>" not in text, file
        assert not [tag for tag, attributes in Page(file).seen if "onload" in attributes], file
    assert "of &lt;b&gt;" in Page(site / "models" / "broken.html").text.replace("\n", " ")
    (own,) = (site / "models").glob("vae-title*.html")
    assert "onload=&#34;x(1)" in own.read_text()
    assert NASTY in [attributes.get("data-m") for _, attributes in Page(site / "board.html").seen]


def test_a_model_s_page_shows_its_groups_pictures_curves_and_command(site: Path) -> None:
    text = (site / "models" / "vae.html").read_text()
    for told in ("Kingma", "Where the nats go", "Ablation:", "suite run -b vae", "seed 4", "loss (reconstruction)"):
        assert told in text, told
    pictures = [attributes["src"] for tag, attributes in Page(site / "models" / "vae.html").seen if tag == "img"]
    assert len(pictures) == 5
    assert (site / "models" / str(pictures[0])).read_bytes() == b"a picture"
    assert "No pictures are published" in (site / "models" / "broken.html").read_text()


def test_a_verified_submission_is_marked_and_its_command_names_its_file(tmp_path: Path) -> None:
    found = [record(baseline=name, seed=seed) for name in ("mine", "checked") for seed in range(3)]
    write_records(tmp_path / "runs", found)
    keys = [raw["key"] for raw in found if raw["baseline"] == "checked"]
    store.write_standing(tmp_path / "runs", "checked", store.VERIFIED, keys, again=keys)
    write(tmp_path / "runs", tmp_path / "site")
    shown = {name: (tmp_path / "site" / "models" / f"{name}.html").read_text() for name in ("mine", "checked")}
    assert ["✓" in shown[name] for name in ("mine", "checked")] == [False, True]
    assert ["suite run -b mine " in shown["mine"], "suite run -b checked.py " in shown["checked"]] == [True, True]
    assert (tmp_path / "site" / "board.html").read_text().count(">✓</abbr>") == 1


def test_a_task_s_page_has_its_rules_its_anchors_and_its_ranking_from_the_best(site: Path) -> None:
    text = (site / "tasks" / "reconstruction.html").read_text()
    assert "Noise draws per image" in text
    assert "exactly the floor" in text
    assert "measured by version 1 of the task, while the rules below are those of version 3" in text
    ranking = text[text.index('id="ranking"') :]
    values = [float(v) for v in re.findall(r'data-v="([\d.]+)"', ranking.split("</table>")[0])]
    assert values == sorted(values)
    assert len(values) > 5


def test_the_values_of_images_can_be_read_back(site: Path, records: Path) -> None:
    text = (site / "data" / "images-0-reconstruction.1.js").read_text()
    data = json.loads(text.removeprefix("siteImages(").removesuffix(");\n"))
    values = np.frombuffer(base64.b64decode(data["values"]), "<f4").reshape(len(data["models"]), -1)
    assert sorted(data["models"]) == sorted(["vae", NASTY])
    assert (data["images"], data["step"], values.shape[1]) == (50, 1, 50)
    assert values[data["models"].index("vae")].mean() == pytest.approx(102.0, abs=1e-3)


def test_a_site_is_the_same_when_it_is_made_again(site: Path, records: Path, tmp_path: Path) -> None:
    write(records, tmp_path)
    for file in site.rglob("*"):
        if file.is_file():
            assert (tmp_path / file.relative_to(site)).read_bytes() == file.read_bytes(), file


def test_a_site_replaces_a_site_and_nothing_else(records: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        write(records, other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    out = tmp_path / "site"
    write(records, out)
    (out / "models" / "gone.html").write_text("of a model that is no longer there")
    (out / "mine.txt").write_text("not the site's")
    (tmp_path / "outside.txt").write_text("not the site's")
    names = [*json.loads((out / "site.json").read_text()), "models/gone.html", "../outside.txt"]
    (out / "site.json").write_text(json.dumps(names))
    write(records, out)
    assert not (out / "models" / "gone.html").exists()
    assert (out / "mine.txt").exists()
    assert (tmp_path / "outside.txt").exists()


def test_tuned_models_have_a_table_of_their_own_and_are_ranked_with_no_declared_one(tmp_path: Path) -> None:
    rows = [record("reconstruction", name, seed, value + 0.1 * seed) for name, value in MODELS for seed in range(3)]
    for name, trials, value in (("a", 8, 2.0), ("b", 8, 1.0), ("a", 16, 0.5)):
        params = {"tuned": trials}
        rows += [
            record(
                "reconstruction",
                f"{name}:tuned={trials}",
                seed,
                value + 0.1 * seed,
                baseline_params=params,
                family=name,
            )
            for seed in range(3)
        ]
    write(write_records(tmp_path / "runs", rows), tmp_path / "site")
    page = Page(tmp_path / "site" / "board.html").text
    for caption in ("tuned (8 trials each)", "tuned (16 trials each)"):
        assert page.count(f"trained without labels, {caption}") >= 1
    (script,) = (tmp_path / "site").rglob("pairs*.js")
    found = json.loads(script.read_text().partition("(")[2].rpartition(")")[0])
    names = [row.model for row in rows_of(board(load_records(tmp_path / "runs")))]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(found["ranked"]), np.uint8))
    upper = zip(*np.triu_indices(len(names), 1), strict=True)
    ranked = {frozenset((names[i], names[j])) for (i, j), bit in zip(upper, bits, strict=False) if bit}
    assert ranked == {frozenset(("a", "b")), frozenset(("a:tuned=8", "b:tuned=8"))}


def test_records_without_values_say_so_in_place_of_images(tmp_path: Path) -> None:
    from tests.factories import records, write_records

    write(write_records(tmp_path / "w", records({"a": [1.0, 2.0, 3.0]})), tmp_path / "site")
    assert "No per-image values are published" in (tmp_path / "site" / "images.html").read_text()
