"""Shows README.md, CONTRIBUTING.md and CHANGELOG.md, which stand above docs/, as pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds them beside the pages of docs/; MkDocs makes README.md the front page."""
    for name in TOP:
        files.append(File.generated(config, name, abs_src_path=str(Path(config.config_file_path).parent / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has links between them and docs/ hold on the site, where they stand in one folder, as on the code host."""
    if page.file.src_uri in TOP:
        return markdown.replace("](docs/", "](")
    return re.sub(rf"\]\(\.\./({'|'.join(map(re.escape, TOP))})", r"](\1", markdown)
