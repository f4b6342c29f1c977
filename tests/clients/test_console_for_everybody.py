"""The console by keyboard, on a phone, and as axe judges it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.browser import page_of
from tests.clients.console import TALK, complaints_of_axe, marked, opened, segment, transcribed
from tests.clients.server import KEY, ROOT, Server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(browser: Any, locked: Server, scheme: str) -> None:
    # axe-core measures with styles of its own, which the page's policy forbids.
    with page_of(browser, locked.url, color_scheme=scheme, bypass_csp=True) as page:
        page.locator("#key-dialog").wait_for()
        assert complaints_of_axe(page) == []
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        for summary in page.locator("summary:visible").all():
            summary.click()
        assert complaints_of_axe(page) == []
        page.set_input_files("#file", ROOT / "LICENSE")
        page.click("#go")
        page.locator("#failure:not([hidden])").wait_for()
        assert complaints_of_axe(page) == []
        transcribed(page)
        page.click("#open-search")
        page.locator(".row .speaker").first.click()
        assert complaints_of_axe(page) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(browser: Any, keyless: Server, width: int) -> None:
    viewport = {"width": width, "height": 800}
    with page_of(browser, keyless.url, viewport=viewport) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        opened(page, [*TALK, segment(4.0, "w" * 300)])
        page.click("#open-search")
        page.fill("#query", "w")  # how often it was found takes room
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_shows_the_models_state_and_no_word_is_broken(
    browser: Any, keyless: Server
) -> None:
    with page_of(browser, keyless.url, viewport={"width": 320, "height": 640}) as page:
        engine = page.locator("#engine", has_text="scripted ready")
        engine.wait_for()
        assert engine.evaluate("one => one.scrollWidth <= one.clientWidth")
        page.get_by_text("Models, workers and queue").click()
        what = page.locator("#model-rows small").first
        what.wait_for()
        assert what.bounding_box()["width"] > 250
        assert page.locator("#engines .table").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_a_phone_on_its_side_keeps_room_for_the_text(browser: Any, keyless: Server) -> None:
    with page_of(browser, keyless.url, viewport={"width": 740, "height": 360}) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        opened(page, [segment(4.0 * place, "good morning to all") for place in range(30)])
        page.locator(".row .text").last.scroll_into_view_if_needed()
        assert page.locator(".tools").bounding_box()["y"] < -100


def test_it_is_used_by_keyboard_alone(page: Any) -> None:
    opened(page, TALK)
    page.locator(".row .text").first.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Control+f")
    page.keyboard.type("fine")
    assert marked(page, "chosen") == ["fine"]
    page.keyboard.press("Control+z")  # in the field, not in the transcript
    assert page.locator(".row .text").first.inner_text().endswith("!")
    page.keyboard.press("Escape")
    page.locator("#save-txt").focus()
    with page.expect_download():
        page.keyboard.press("Enter")
