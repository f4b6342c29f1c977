"""What MkDocs does besides reading docs/: adds pages from elsewhere, and corrects links to them."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from manual import api_page
from manual.navigation import ELSEWHERE, ROOT, more

_LINK = re.compile(
    r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)"
)


_ELSEWHERE = re.compile(r"<(?:script[^>]*src|link[^>]*stylesheet[^>]*href)=\"?https?:[^>]*>")
_SEARCH_FROM_FILES = "https://unpkg.com/iframe-worker/shim"  # what the plugin "offline" would load


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.nav = [*config.nav, *more(config.nav)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, source in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "api.md", content=api_page.text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages of the site. Those to other files of the repository become text."""
    name = page.file.src_uri
    source = PurePosixPath(ELSEWHERE.get(name, f"docs/{name}"))
    pages = {f"docs/{one.src_uri}": one.src_uri for one in files}
    pages |= {file: one for one, file in ELSEWHERE.items()}

    def rewritten(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = os.path.normpath(source.parent / target)
        if path in pages:
            return f"[{text}]({os.path.relpath(pages[path], Path(name).parent)}{anchor})"
        if path == "README.md":
            return f"[{text}](index.md)"
        if not (ROOT / path).exists():
            return link[0]  # MkDocs complains of it
        return text

    markdown = re.sub(r"^```(\w+) no-run$", r"```\1", markdown, flags=re.MULTILINE)
    return _LINK.sub(rewritten, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Hold the site to its promise: a reader's browser asks nobody else for anything.

    Raises:
        PluginError: the page loads something from another host.
    """
    output = output.replace(_SEARCH_FROM_FILES, "assets/iframe-worker.js")
    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads {found[0]}")
    return output
