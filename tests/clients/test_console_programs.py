"""The lines that the console shows for those who would ask from a program."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.clients.browser import page_of
from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, client, output_of_javascript
from tests.waiting import PROGRAM_SECONDS

# The same from a program


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_the_lines_say_what_the_form_says_and_no_key(
    browser: Any, locked: Server, language: str
) -> None:
    with page_of(browser, locked.url) as page:
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        page.get_by_text("The same from a program").click()
        page.click(f"#in-{language}")
        page.select_option("#model", "scripted")
        page.select_option("#speakers", "3")
        page.set_input_files("#file", ENGLISH)
        lines = page.locator("#lines").inner_text()
        for word in (locked.url, ENGLISH.name, "scripted", "num_speakers", "YOUR-KEY"):
            assert word in lines
        assert KEY not in lines
        page.fill("#url", "https://example.com/it's.mp3")
        lines = page.locator("#lines").inner_text()
        assert "transcriptions-from-url" in lines


def test_the_line_for_curl_does_what_it_says(page: Any) -> None:
    page.get_by_text("The same from a program").click()
    page.select_option("#speakers", "2")
    page.set_input_files("#file", ENGLISH)
    lines = page.locator("#lines").inner_text()
    done = subprocess.run(
        ["bash", "-c", lines],
        cwd=ENGLISH.parent,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=True,
    )
    assert json.loads(done.stdout)["segments"][0]["speaker"] == "A"


def test_the_line_for_python_does_what_it_says(page: Any) -> None:
    page.get_by_text("The same from a program").click()
    page.click("#in-python")
    page.select_option("#model", "scripted")
    page.select_option("#speakers", "2")
    page.set_input_files("#file", ENGLISH)
    lines = page.locator("#lines").inner_text()
    client("openai")
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=ENGLISH.parent,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=True,
    )
    assert done.stdout.split()


def test_the_line_for_javascript_does_what_it_says(page: Any) -> None:
    page.get_by_text("The same from a program").click()
    page.click("#in-javascript")
    page.select_option("#model", "scripted")
    page.set_input_files("#file", ENGLISH)
    lines = page.locator("#lines").inner_text().replace(ENGLISH.name, str(ENGLISH))
    assert output_of_javascript(lines).split()
