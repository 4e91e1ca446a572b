"""The page in a browser, where one is installed: numbers from the DOM, sorting, a phone's width, no complaint."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htlnet_tf.page.render import render
from htlnet_tf.page.run_page import run_page
from tests.page.pages import NASTY, inputs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

# The page's policy lets no other script in, so another page looks at it through frames as wide as a phone and a desk.
LOOKING = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body>
<iframe id="phone" style="width:390px;height:800px"></iframe>
<iframe id="desk" style="width:1280px;height:800px"></iframe>
<pre id="found"></pre>
<script>
const found = {};
function table(page, caption) {
  return [...page.querySelectorAll("table")].find((each) => each.caption.textContent === caption);
}
function column(each, place) {
  return [...each.tBodies[0].rows].map((row) => row.cells[place].firstChild.textContent);
}
function look(name, page) {
  const features = table(page, "Single columns");
  const before = column(features, 2);
  const button = features.tHead.rows[0].cells[2].querySelector("button");
  button.click();
  const falling = column(features, 2);
  button.click();
  const wide = [...page.querySelectorAll("body *")].filter(
    (each) => each.getBoundingClientRect().right > page.documentElement.clientWidth + 1 && !each.closest(".scroll"));
  found[name] = {
    auc: table(page, "click (binary)").tBodies[0].rows[0].cells[1].dataset.value,
    before, falling, rising: column(features, 2),
    sorted: features.tHead.rows[0].cells[2].getAttribute("aria-sort"),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: wide.map((each) => each.tagName + "." + each.className).slice(0, 5),
    title: page.title,
    letters: Math.min(...[...page.querySelectorAll(".chart text")].map((each) => each.getBoundingClientRect().height)),
    width: page.documentElement.clientWidth,
  };
}
let left = 2;
for (const name of ["phone", "desk"]) {
  const frame = document.getElementById(name);
  frame.onload = () => {
    try { look(name, frame.contentDocument); } catch (error) { found[name] = String(error); }
    if (--left === 0) document.getElementById("found").textContent = JSON.stringify(found);
  };
  frame.src = "report.html";
}
</script>"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    """What the looking page found, and what the browser said on its console."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_text(render(run_page(inputs(num_features=50))), encoding="utf-8")
    (folder / "looking.html").write_text(LOOKING, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield look(f"http://127.0.0.1:{server.server_address[1]}/looking.html", folder)
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def look(address: str, folder: Path) -> tuple[dict[str, Any], str]:
    assert CHROMIUM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
    flags += ("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr")
    done = subprocess.run(
        [
            CHROMIUM,
            *flags,
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found is not None, done.stdout[-2000:]
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(found[1])), console


@pytest.mark.parametrize("width", ["phone", "desk"])
def test_the_page_is_read_sorted_and_fits(seen: tuple[dict[str, Any], str], width: str) -> None:
    found, console = seen
    on = found[width]
    assert isinstance(on, dict), on
    assert float(on["auc"]) == 0.71234
    assert on["title"] == f"HTLNet on {NASTY}"
    assert on["overflow"] == 0
    assert on["wide"] == []
    assert on["letters"] > 9  # CSS pixels, a line's height
    values = [float(text) for text in on["falling"]]
    assert values == sorted(values, reverse=True)
    assert [float(text) for text in on["rising"]] == values[::-1]
    assert sorted(on["before"]) == sorted(on["falling"])
    assert on["sorted"] == "ascending"
    assert console == ""
