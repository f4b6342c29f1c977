"""The web console, used as people do: in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.browser import MICROPHONE, chromium, page_of
from tests.clients.server import KEY, ROOT, Server, serving
from tests.clients.support import ENGLISH

STANDUP = ROOT / "samples" / "standup.ogg"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, whose words are a hash of the audio."""
    settings = {"MODEL": "scripted", "APIKEY": KEY, "URL_ALLOW": "127.0.0.1", "WORKERS": "1"}
    with serving(tmp_path_factory.mktemp("locked"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("open"), {"MODEL": "scripted", "WORKERS": "1"}) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*MICROPHONE) as browser:
        yield browser


@pytest.fixture
def page(browser: Any, keyless: Server) -> Iterator[Any]:
    """The start of the console, on a server that wants no key."""
    with page_of(browser, keyless.url) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        yield page


def transcribed(page: Any, speakers: str = "auto") -> None:
    """Have the page transcribe a conversation of a minute."""
    page.set_input_files("#file", STANDUP)
    page.select_option("#speakers", speakers)
    page.click("#go")
    page.locator("#result").wait_for()


def test_a_file_is_transcribed(page: Any) -> None:
    assert page.locator("#go").is_disabled()
    transcribed(page)
    assert page.locator("#result h1").inner_text() == "standup.ogg"
    rows = page.locator(".row .text")
    assert rows.count() > 8
    assert "pearl dune ember dune" in rows.first.inner_text()


def test_the_words_appear_while_it_works(page: Any) -> None:
    page.evaluate(
        """() => {
          window.seen = [];
          const note = () => window.seen.push(document.querySelector("#words").textContent.length);
          new MutationObserver(note).observe(document.querySelector("#words"), {childList: true});
        }"""
    )
    transcribed(page)
    lengths = page.evaluate("window.seen")
    assert lengths
    assert lengths[-1] > 500


def test_the_key_is_asked_for_once_and_stays_in_the_tab(browser: Any, locked: Server) -> None:
    with page_of(browser, locked.url) as page:
        page.fill("#key", "wrong")
        page.press("#key", "Enter")
        page.locator("#key-failure", has_text="Incorrect API key provided.").wait_for()
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        page.reload()
        page.locator("#engine", has_text="scripted").wait_for()
        assert not page.locator("#key-dialog").is_visible()
        kept = page.evaluate("[JSON.stringify(localStorage), document.cookie]")
        assert kept == ["{}", ""]
        transcribed(page, speakers="")


def test_an_address_is_transcribed_and_a_refusal_is_told(page: Any, keyless: Server) -> None:
    page.fill("#url", f"{keyless.url}/a.wav")
    page.click("#go")
    failure = page.locator("#failure:not([hidden])")
    failure.wait_for()
    assert "REFLECTOR_URL_ALLOW" in failure.inner_text()


def test_what_is_no_audio_is_told_in_the_servers_words(page: Any) -> None:
    page.set_input_files("#file", ROOT / "LICENSE")
    page.click("#go")
    failure = page.locator("#failure:not([hidden])")
    failure.wait_for()
    assert "audio" in failure.inner_text()
    page.set_input_files("#file", ENGLISH)
    assert failure.count() == 0


def test_work_is_cancelled(page: Any) -> None:
    page.route("**/v1/audio/transcriptions", lambda route: None)  # never answered
    page.set_input_files("#file", ENGLISH)
    page.click("#go")
    page.click("#cancel")
    page.locator("#start").wait_for()
    assert not page.locator("#failure").is_visible()
    assert page.locator("#go").is_enabled()


def test_nothing_is_loaded_from_elsewhere(browser: Any, keyless: Server) -> None:
    asked: list[str] = []
    context = browser.new_context()
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(keyless.url)
    page.locator("#engine", has_text="scripted").wait_for()
    context.close()
    assert len(asked) > 5
    assert all(address.startswith(keyless.url) for address in asked)


def test_a_name_is_never_taken_for_markup(browser: Any, keyless: Server) -> None:
    with page_of(browser, keyless.url) as page:
        name = "<img src=x onerror=alert(1)>.wav"
        buffer = ENGLISH.read_bytes()
        page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": buffer})
        page.click("#go")
        page.locator("#result").wait_for()
        assert page.locator("#result h1").inner_text() == name
        assert page.locator("img").count() == 0
