"""A page of the console in Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.clients.support import client
from tests.waiting import PATIENCE_SECONDS

MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """A browser without a window; the test is skipped where there is none."""
    playwright = client("playwright.sync_api")
    if not (program := shutil.which("chromium")):
        pytest.skip("Chromium is not on this machine")  # no package of pip or npm brings it
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", *arguments], env={"LANGUAGE": "en"}
        )
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Any, url: str, **options: object) -> Iterator[Any]:
    """The page at ``url``, in a context of its own. Whatever the browser complains of fails."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if _is_ours(said) else None)
    page.goto(url)
    yield page
    context.close()
    assert not complaints, complaints


def _is_ours(said: Any) -> bool:
    """Whether the page itself is at fault: that a request failed is logged by the browser."""
    return said.type in ("error", "warning") and "Failed to load resource" not in said.text
