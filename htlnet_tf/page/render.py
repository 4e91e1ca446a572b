"""A page as HTML: one document that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from htlnet_tf.page.blocks import Page


def render(page: Page) -> str:
    """The HTML of a page.

    Whatever data say is escaped; the policy in its head allows its own script, by its hash, and nothing else.
    """
    style, script = _file("page.css"), _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Both are files of this package, not data.
    html: str = (
        _environment()
        .get_template("page.html.j2")
        .render(page=page, style=Markup(style), script=Markup(script), script_hash=digest)
    )
    return html


def _file(name: str) -> str:
    return (resources.files("htlnet_tf.page") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("htlnet_tf.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
