"""The console's editor of transcripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.console import STANDUP, TALK, marked, opened, plays, saved, segment, transcribed


def words_of(page: Any) -> list[tuple[str, float]]:
    segments = json.loads(saved(page, "json"))["segments"]
    return [(word["word"].strip(), word["start"]) for s in segments for word in s["words"]]


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
