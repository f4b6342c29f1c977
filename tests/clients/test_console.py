"""The web console, used as people do: in a browser."""

from __future__ import annotations

import re
from http.server import SimpleHTTPRequestHandler
from typing import Any

from tests.clients.browser import page_of
from tests.clients.console import STANDUP, plays, transcribed
from tests.clients.server import KEY, ROOT, Server
from tests.clients.support import ENGLISH
from tests.loopback import Loopback, Quiet


def test_a_file_is_transcribed(page: Any) -> None:
    assert page.locator("#go").is_disabled()
    transcribed(page)
    assert page.locator("#result h1").inner_text() == "standup.ogg"
    rows = page.locator(".row .text")
    assert rows.count() > 8
    assert "maple amber fjord maple" in rows.first.inner_text()


def test_a_transcript_leads_to_a_new_one(page: Any) -> None:
    page.locator("#start").wait_for()
    assert not page.locator("#anew").is_visible()
    transcribed(page)
    page.on("dialog", lambda dialog: dialog.accept())  # nothing was saved
    page.click("#anew")
    page.locator("#start").wait_for()
    assert page.locator("#go").is_disabled()


def test_every_language_has_a_name(page: Any) -> None:
    languages = page.locator("#language option").evaluate_all(
        "all => all.map(({ value, text }) => [value, text])"
    )
    assert ["ba", "Bashkir"] in languages
    assert [code for code, name in languages if code == name] == []


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


class _Samples(Quiet, SimpleHTTPRequestHandler):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given, directory=str(STANDUP.parent))


def test_the_recording_at_an_address_is_transcribed_and_played_from_there(
    browser: Any, locked: Server
) -> None:
    with Loopback(_Samples) as host, page_of(browser, locked.url) as page:
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        page.fill("#url", f"{host.url}/{STANDUP.name}")
        page.press("#url", "Enter")
        page.locator("#result h1", has_text="standup.ogg").wait_for()
        plays(page)


def test_an_address_that_is_refused_is_told(page: Any, keyless: Server) -> None:
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


# The microphone, which hears a recording of ours


def test_the_microphone_is_recorded_with_captions_and_transcribed(
    browser: Any, locked: Server
) -> None:
    """The key is in no address and in no subprotocol: a secret opens the socket."""
    with page_of(browser, locked.url) as page:
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        with page.expect_websocket() as socket:
            page.click("#record")
        assert KEY not in socket.value.url
        page.locator("#captions p.final", has_text=re.compile(r"\w+ \w+ \w+")).first.wait_for()
        page.click("#finish")
        page.locator("#result").wait_for()
        assert page.locator("#result h1").inner_text().startswith("Recording ")
        assert page.locator(".row").count() > 0
        plays(page)


def test_a_recording_is_kept_where_it_cannot_be_transcribed(browser: Any, keyless: Server) -> None:
    with page_of(browser, keyless.url) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        page.route("**/v1/audio/transcriptions", lambda route: route.abort())
        page.click("#record")
        page.locator("#captions p").first.wait_for()
        page.click("#finish")
        failure = page.locator("#failure:not([hidden])")
        failure.wait_for()
        assert "cannot be reached" in failure.inner_text()
        assert page.locator("#chosen").inner_text().startswith("Recording ")
        page.unroute("**/v1/audio/transcriptions")
        page.click("#go")
        page.locator(".row").first.wait_for()


def test_a_recording_is_discarded(browser: Any, keyless: Server) -> None:
    with page_of(browser, keyless.url) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        page.click("#record")
        page.click("#discard")
        page.locator("#start").wait_for()
        assert page.locator("#go").is_disabled()
