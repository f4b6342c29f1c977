"""The web console, used as people do: in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.clients.browser import page_of
from tests.clients.server import KEY, ROOT, Server, serving
from tests.clients.support import ENGLISH, absent, client, output_of_javascript
from tests.loopback import Loopback, Quiet
from tests.waiting import PROGRAM_SECONDS

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


def plays(page: Any) -> None:
    """Play the recording until some of it has been heard."""
    page.evaluate(
        """() => {
          const { play } = HTMLMediaElement.prototype;
          HTMLMediaElement.prototype.play = function () {
            this.addEventListener("timeupdate", () => {
              if (this.played.length) document.body.dataset.heard = "";
            });
            return play.call(this);
          };
        }"""
    )
    page.click("#play")
    page.locator("body[data-heard]").wait_for()


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


# For everybody


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


def complaints_of_axe(page: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is now."""
    axe = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        absent("axe-core is not installed")
    page.evaluate(axe.read_text())
    page.evaluate("document.getAnimations().forEach((one) => one.finish())")
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


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


# The editor


def opened(page: Any, rows: Sequence[object]) -> None:
    """Open a transcript that was saved earlier."""
    body = json.dumps({"language": "en", "segments": rows}).encode()
    file = {"name": "saved.json", "mimeType": "application/json", "buffer": body}
    page.set_input_files("#file", file)
    page.locator("#result").wait_for()


def segment(start: float, words: str, speaker: str = "A", probability: float = 0.9) -> object:
    """A segment with a word every half second."""
    return {
        "start": start,
        "end": start + len(words.split()) / 2,
        "text": words,
        "speaker": speaker,
        "words": [
            {
                "word": f" {word}",
                "start": start + place / 2,
                "end": start + place / 2 + 0.4,
                "probability": probability,
            }
            for place, word in enumerate(words.split())
        ],
    }


def saved(page: Any, ending: str) -> str:
    """The text of the file that the page saves."""
    with page.expect_download() as download:
        page.click(f"#save-{ending}")
    return str(Path(download.value.path()).read_text())


def words_of(page: Any) -> list[tuple[str, float]]:
    segments = json.loads(saved(page, "json"))["segments"]
    return [(word["word"].strip(), word["start"]) for s in segments for word in s["words"]]


def marked(page: Any, name: str) -> list[str]:
    """The texts under a mark, once the page has been painted."""
    script = """async (name) => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return [...(CSS.highlights.get(name) ?? [])].map(String);
    }"""
    return list(page.evaluate(script, name))


TALK = [segment(0.0, "good morning to all"), segment(2.0, "the bugdet is fine", "B")]


def test_a_click_on_a_word_goes_there_and_lights_it(page: Any) -> None:
    transcribed(page)
    row = page.locator(".row .text").nth(1)
    row.click(position={"x": 70, "y": 12})
    at = page.evaluate("Number(document.querySelector('#position').value)")
    assert at > 4.6
    [lit] = marked(page, "heard")
    assert lit in row.inner_text().split()


def test_a_click_on_the_waveform_goes_there(page: Any) -> None:
    transcribed(page, speakers="")
    wave = page.locator("#waveform canvas").first
    wave.wait_for()
    box = page.locator("#waveform").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    page.locator("#time", has_text="0:33 / 1:06").wait_for()


def test_nothing_moves_when_the_waveform_comes(page: Any) -> None:
    page.evaluate(
        """() => {
          const decode = BaseAudioContext.prototype.decodeAudioData;
          const told = new Promise((tell) => { window.tell = tell; });
          BaseAudioContext.prototype.decodeAudioData = async function (data) {
            await told;
            return decode.call(this, data);
          };
        }"""
    )
    transcribed(page)
    before = page.locator(".row").first.bounding_box()
    assert page.locator("#waveform canvas").count() == 0
    page.evaluate("window.tell()")
    page.locator("#waveform canvas").first.wait_for()
    assert page.locator(".row").first.bounding_box() == before


def test_edited_text_keeps_the_times_of_its_words(page: Any) -> None:
    opened(page, TALK)
    text = page.locator(".row .text").nth(1)
    text.fill("the whole budget is fine")
    assert words_of(page)[4:] == [
        ("the", 2.0),
        ("whole", 2.5),
        ("budget", 2.68),
        ("is", 3.0),
        ("fine", 3.5),
    ]


def test_what_is_typed_stays_where_the_caret_is(page: Any) -> None:
    opened(page, TALK)
    text = page.locator(".row .text").first
    text.press("End")
    page.keyboard.type(" of you")
    page.keyboard.press("Backspace")
    assert text.inner_text() == "good morning to all of yo"
    assert [word for word, _ in words_of(page)][:6] == "good morning to all of yo".split()
    page.keyboard.press("Control+z")
    assert text.inner_text() == "good morning to all"
    page.keyboard.press("Control+Shift+z")
    assert text.inner_text() == "good morning to all of yo"


def test_rows_are_cut_and_joined(page: Any) -> None:
    opened(page, TALK)
    page.locator(".row .text").first.press("Home")
    for _ in "good morning":
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    texts = page.locator(".row .text")
    assert texts.all_inner_texts() == ["good morning", "to all", "the bugdet is fine"]
    page.keyboard.press("Backspace")
    assert texts.all_inner_texts() == ["good morning to all", "the bugdet is fine"]
    assert words_of(page)[2] == ("to", 1.0)


def test_search_and_replace_is_one_step_back(page: Any) -> None:
    opened(page, [*TALK, segment(4.0, "Bugdet? The bugdet.")])
    page.click("#open-search")
    page.fill("#query", "bugdet")
    assert page.locator("#matches").inner_text() == "1 of 3"
    assert marked(page, "found") == ["bugdet", "Bugdet", "bugdet"]
    assert marked(page, "chosen") == ["bugdet"]
    page.fill("#replacement", "budget")
    page.click("#replace-all")
    assert page.locator("#matches").inner_text() == "3 replaced"
    assert page.locator(".row .text").nth(2).inner_text() == "budget? The budget."
    page.click("#undo")
    assert page.locator("#matches").inner_text() == "1 of 3"
    page.fill("#query", "nowhere")
    assert page.locator("#matches").inner_text() == "Not found"


@pytest.mark.parametrize("pressed", ["#query", "#replacement", "#replace-all"])
def test_escape_closes_the_search_and_plays_nothing(page: Any, pressed: str) -> None:
    opened(page, TALK)
    page.evaluate(
        "() => { HTMLMediaElement.prototype.play = async () => { window.played = true; }; }"
    )
    page.click("#open-search")
    page.fill("#query", "bugdet")
    page.locator(pressed).focus()
    page.keyboard.press("Enter")  # which replaces all, on that button
    page.keyboard.press("Escape")
    assert not page.locator("#search-panel").is_visible()
    assert page.evaluate("document.activeElement.id") == "open-search"
    assert not page.evaluate("window.played")


def test_speakers_are_renamed_and_rows_given_to_others(page: Any) -> None:
    opened(page, TALK)
    page.get_by_label("Name of speaker 1").fill("Anna")
    page.locator(".row .speaker", has_text="Speaker B").click()
    page.locator("#speaker-menu button", has_text="Anna").click()
    assert saved(page, "txt") == "Anna: good morning to all the bugdet is fine\n"


def test_a_speaker_is_never_without_a_name(page: Any) -> None:
    opened(page, TALK)
    field = page.get_by_label("Name of speaker 1")
    field.fill("")
    assert page.locator(".row .speaker").first.inner_text() == "Speaker A"
    field.press_sequentially(" Anna")
    assert page.locator(".row .speaker").first.inner_text() == "Anna"
    field.fill("  ")
    field.blur()
    assert field.input_value() == "Speaker A"
    assert saved(page, "txt").startswith("Speaker A: good morning")


def test_a_name_that_two_speakers_have_is_pointed_out(page: Any) -> None:
    opened(page, TALK)
    said = page.locator("#voices [role=status]")
    assert said.inner_text() == ""
    page.get_by_label("Name of speaker 1").fill("Speaker B")
    assert said.inner_text() == "Two speakers are called Speaker B."
    page.get_by_label("Name of speaker 1").fill("Speaker 3")
    assert said.inner_text() == ""
    page.get_by_text("Add a speaker").click()
    assert page.get_by_label("Name of speaker 3").input_value() == "Speaker 4"


def test_doubtful_words_are_marked_until_somebody_has_typed_them(page: Any) -> None:
    opened(page, [segment(0.0, "hello world", probability=0.2)])
    assert marked(page, "doubtful") == ["hello", "world"]
    page.locator(".row .text").fill("hello word")
    assert marked(page, "doubtful") == ["hello"]


def test_subtitles_are_made_of_the_edited_text(page: Any) -> None:
    opened(page, TALK)
    page.locator(".row .text").first.fill("good morning to <all>")
    assert saved(page, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,900\nSpeaker A: good morning to <all>\n\n"
        "2\n00:00:02,000 --> 00:00:03,900\nSpeaker B: the bugdet is fine\n"
    )
    assert saved(page, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.900\n<v Speaker A>good morning to &lt;all&gt;\n\n"
        "00:00:02.000 --> 00:00:03.900\n<v Speaker B>the bugdet is fine\n"
    )


def test_a_saved_transcript_opens_again_and_its_recording_is_added(page: Any) -> None:
    transcribed(page)
    first = json.loads(saved(page, "json"))
    page.reload()
    page.locator("#start").wait_for()
    opened(page, first["segments"])
    assert json.loads(saved(page, "json"))["segments"] == first["segments"]
    page.set_input_files("#recording", STANDUP)
    plays(page)


def test_thirty_thousand_words_open(page: Any) -> None:
    words = " ".join(f"word{place}" for place in range(12))
    opened(page, [segment(6.0 * row, words, "AB"[row % 2]) for row in range(2500)])
    assert page.locator(".row").count() == 2500
    page.click("#open-search")
    page.fill("#query", "word11")
    page.press("#query", "Shift+Enter")
    assert page.locator("#matches").inner_text() == "2500 of 2500"
    page.locator(".row .text").last.fill("the end")
    assert words_of(page)[-2:] == [("the", 14994.0), ("end", 14996.53)]


def test_any_edit_keeps_what_it_does_not_touch(page: Any) -> None:
    """Random cuts and pastes: the text is what was written, and times stay in order."""
    opened(page, TALK)
    wrong = page.evaluate(
        """async () => {
          const place = document.querySelector("script[src]").src.replace("app.js", "");
          const { edited } = await import(`${place}words.js`);
          const { row, textOf } = await import(`${place}transcript.js`);
          let seed = 7;
          const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
          const bits = [" ", "a", "b ", " cd", "ef gh", "", "."];
          const wrong = [];
          for (let run = 0; run < 3000; run++) {
            const words = "one two one, three two".split(" ")
              .map((text, at) => ({ text: ` ${text}`, start: at, end: at + 1, probability: 1 }));
            let now = row(words);
            for (let step = 0; step < 3; step++) {
              const text = textOf(now);
              const begin = random(text.length + 1);
              const end = begin + random(text.length - begin + 1);
              const typed = text.slice(0, begin) + bits[random(bits.length)] + text.slice(end);
              const next = edited(now, typed);
              const spelt = typed.trim().replace(/\\s+/g, " ");
              const times = next.words.flatMap(({ start, end }) => [start, end]);
              const ordered = times.every((time, at) => !at || times[at - 1] <= time);
              const whole = next.words.every(({ text }) => /^ ?\\S+$/.test(text));
              const same = next.words.filter(({ probability }) => probability);
              const kept = same.every((w) => words[w.start].text.trim() === w.text.trim());
              if (textOf(next) !== spelt || !ordered || !whole || !kept) wrong.push([text, typed]);
              now = next;
            }
          }
          return wrong.slice(0, 3);
        }"""
    )
    assert wrong == []
