"""The web console: jobs, usage, workers, translations, and the end of a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.browser import page_of
from tests.clients.console import complaints_of_axe, opened, plays, saved
from tests.clients.server import KEY, ROOT, Server, serving
from tests.clients.support import ENGLISH

STANDUP = ROOT / "samples" / "standup.ogg"
TRANSLATOR = ROOT / "tests" / "fixtures" / "translation-tiny"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps jobs, and translates."""
    settings = {
        "MODEL": "scripted",
        "WORKERS": "1",
        "DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "TRANSLATOR": str(TRANSLATOR),
    }
    with serving(tmp_path_factory.mktemp("jobs"), settings) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    with page_of(browser, server.url) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        yield page


def submitted(page: Any, source: Path = STANDUP) -> Any:
    """Submit a job, and give its line."""
    page.set_input_files("#file", source)
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        page.click("#later")
    line = page.locator(f"li[data-job={answer.value.json()['id']}]")
    line.wait_for()
    return line


def has_status(line: Any, status: str) -> None:
    line.locator(f"xpath=self::*[@data-status='{status}']").wait_for()


def test_a_job_is_submitted_and_its_result_opens_with_its_recording(page: Any) -> None:
    page.select_option("#speakers", "auto")
    line = submitted(page)
    has_status(line, "completed")
    assert "1:06" in line.locator(".state").inner_text()
    line.get_by_role("button", name=f"Open {STANDUP.name}").click()
    page.locator("#result h1", has_text=STANDUP.name).wait_for()
    plays(page)
    texts = page.locator(".row .text").all_inner_texts()
    assert len(texts) > 1
    assert page.locator(".voice").count() > 1
    segments = json.loads(saved(page, "json"))["segments"]
    words = [word for segment in segments for word in segment["words"]]
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert all(word["probability"] == 1 for word in words)  # which only a recogniser tells


def test_a_job_is_still_there_when_the_page_is_opened_again(page: Any) -> None:
    line = submitted(page)
    has_status(line, "completed")
    page.reload()
    line.get_by_role("button", name="Open").click()
    page.locator("#result").wait_for()
    page.locator("#no-audio").wait_for()  # this tab does not have the recording


def test_a_result_is_removed_once_the_reader_agrees(page: Any) -> None:
    line = submitted(page)
    has_status(line, "completed")
    answers = iter(["dismiss", "accept"])
    page.on("dialog", lambda dialog: getattr(dialog, next(answers))())
    remove = line.get_by_role("button", name="Remove")
    remove.click()
    assert line.is_visible()
    remove.click()
    line.wait_for(state="detached")
    page.reload()
    page.locator("#later").wait_for()
    assert line.count() == 0


def test_a_job_that_fails_says_why(page: Any) -> None:
    line = submitted(page, ROOT / "LICENSE")
    has_status(line, "failed")
    assert "not audio" in line.locator(".state").inner_text()
    assert not line.get_by_role("button", name="Open").is_visible()
    line.get_by_role("button", name="Remove LICENSE").click()
    line.wait_for(state="detached")
    page.reload()
    page.locator("#later").wait_for()
    assert line.count() == 0


def test_a_job_that_tells_speakers_apart_is_saved_and_not_opened(page: Any, server: Server) -> None:
    file = {"name": "who.ogg", "mimeType": "audio/ogg", "buffer": STANDUP.read_bytes()}
    answer = page.request.post(
        f"{server.url}/v1/jobs", multipart={"kind": "diarization", "file": file}
    )
    page.reload()
    line = page.locator(f"li[data-job={answer.json()['id']}]")
    has_status(line, "completed")
    assert line.locator(".state").inner_text().startswith("Speakers only: 1:06")
    assert not line.get_by_role("button", name="Open").is_visible()
    with page.expect_download() as download:
        line.get_by_role("button", name="Save who.ogg").click()
    assert download.value.suggested_filename == "who.rttm"
    assert Path(download.value.path()).read_text().startswith("SPEAKER ")


def test_a_key_that_is_not_for_jobs_is_offered_none(browser: Any, server: Server) -> None:
    with page_of(browser, server.url) as page:
        page.locator("#later").wait_for()
        has_status(submitted(page, ROOT / "LICENSE"), "failed")
        page.route("**/v1/jobs?*", lambda route: route.fulfill(status=403, json={}))
        with page.expect_response("**/v1/jobs?*"):
            page.reload()
        page.locator("#engine", has_text="scripted").wait_for()
        assert not page.locator("#later").is_visible()
        assert not page.locator("#jobs").is_visible()


def _job(status: str, **progress: object) -> dict[str, object]:
    told: dict[str, object] = {"percent": None, "seconds_left": None, "duration": None}
    return {
        "id": f"job_{status}",
        "kind": "transcription",
        "status": status,
        "filename": f"{status}.wav",
        "finished_at": None,
        "error": None,
        "progress": told | progress,
    }


def test_the_list_tells_how_far_jobs_are_and_cancels_them(browser: Any, server: Server) -> None:
    jobs = [_job("running", percent=41.7, seconds_left=95.0, duration=600.0), _job("queued")]
    with page_of(browser, server.url) as page:
        page.route(
            "**/v1/jobs?*", lambda route: route.fulfill(json={"data": jobs, "has_more": False})
        )
        page.route("**/v1/jobs/*/cancel", lambda route: (jobs.pop(), route.fulfill(json={}))[1])
        page.reload()
        running, queued = (page.locator(f"li[data-status={one}]") for one in ("running", "queued"))
        running.wait_for()
        assert running.locator(".state").inner_text() == "41 %, about 1:35 left"
        assert running.locator("progress").evaluate("one => one.value") == pytest.approx(0.417)
        assert queued.locator(".state").inner_text() == "Waiting"
        jobs[0]["progress"] = {"percent": 80.0, "seconds_left": None, "duration": 600.0}
        running.locator(".state", has_text="80 %").wait_for()
        page.get_by_role("button", name="Cancel queued.wav").click()
        queued.wait_for(state="detached")


def test_what_a_cancelled_job_has_recognised_opens(page: Any) -> None:
    job_id = submitted(page).get_attribute("data-job")
    has_status(page.locator(f"li[data-job={job_id}]"), "completed")
    told = _job("cancelled", percent=40.2, duration=66.0, audio_seconds=26.5)
    jobs = {"data": [told | {"id": job_id}], "has_more": False}
    page.route("**/v1/jobs?*", lambda route: route.fulfill(json=jobs))
    page.reload()
    line = page.locator(f"li[data-job={job_id}]")
    has_status(line, "cancelled")
    assert line.locator(".state").inner_text() == "Cancelled at 40 %"
    with page.expect_request("**/result?*") as asked:
        line.get_by_role("button", name="Open").click()
    assert "partial=true" in asked.value.url
    page.locator("#result h1", has_text="cancelled.wav").wait_for()
    jobs["data"] = [_job("cancelled")]
    page.goto(page.url.partition("#")[0])
    has_status(page.locator("li[data-job=job_cancelled]"), "cancelled")
    assert not page.get_by_role("button", name="Open cancelled.wav").is_visible()


def test_a_server_that_keeps_no_jobs_offers_none(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"MODEL": "scripted", "WORKERS": "1", "APIKEY": KEY}
    with (
        serving(tmp_path_factory.mktemp("without"), settings) as server,
        page_of(browser, server.url) as page,
    ):
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.locator("#engine", has_text="scripted").wait_for()
        for part in ("#later", "#jobs", "#usage", "#translate"):
            assert not page.locator(part).is_visible()


def test_what_a_key_has_used_is_told_day_by_day(page: Any) -> None:
    page.set_input_files("#file", STANDUP)
    page.click("#go")
    page.locator("#result").wait_for()
    page.goto(page.url)
    page.get_by_text("What your key has used").click()
    cells = page.locator("#usage-rows tr").first.locator("td")
    cells.last.wait_for()
    requests, audio = cells.all_inner_texts()
    assert int(requests) > 0
    assert audio != "0:00"


# The server's state


def line_of(page: Any, model: str) -> Any:
    return page.locator(f"#model-rows tr[data-model='{model}']")


def test_models_are_listed_with_their_workers_and_what_waits(page: Any) -> None:
    page.get_by_text("Models, workers and queue").click()
    working = line_of(page, "scripted").locator("td", has_text="1 of 1")
    working.wait_for()
    assert line_of(page, "scripted").locator("td").all_inner_texts() == ["ready", "1 of 1", "0"]
    assert line_of(page, "sphinx").locator("td").all_inner_texts() == ["on demand", "–", "–"]
    assert page.locator("#figures div", has_text="Workers ready").is_visible()


METRICS = """# HELP reflector_workers Worker processes wanted
# TYPE reflector_workers gauge
reflector_workers{model="scripted"} 2.0
reflector_workers{model="sphinx"} 1.0
reflector_workers_ready{model="sphinx"} 0.0
reflector_model_state{model="sphinx",state="idle"} 1.0
reflector_workers_ready{model="scripted"} 1.0
reflector_chunks_waiting{model="scripted"} 7.0
reflector_chunks_waiting{model="a \\"quoted\\" {folder}"} 5.0
reflector_requests_running{class="live"} 1.0
reflector_requests_running{class="file"} 3.0
reflector_backlog_seconds{class="file"} 3725.5
reflector_jobs{status="queued"} 4.0
reflector_jobs{status="running"} 2.0
reflector_realtime_sessions 1.0
reflector_gpu_memory_used_bytes{gpu="0"} 2.05e+10
reflector_gpu_memory_bytes{gpu="0"} 8.59e+10
"""


def test_the_figures_are_those_of_the_metrics_and_follow_them(page: Any) -> None:
    told = [METRICS]
    page.route("**/metrics", lambda route: route.fulfill(body=told[0]))
    page.get_by_text("Models, workers and queue").click()
    line_of(page, "scripted").locator("td", has_text="1 of 2").wait_for()
    assert page.locator("#figures div").all_inner_texts() == [
        "Workers ready\n1 of 2",
        "Requests running\n4",
        "Audio still to do\n1:02:05",
        "Pieces waiting\n12",
        "Jobs waiting\n4",
        "Jobs running\n2",
        "Live sessions\n1",
        "GPU memory\n20.5 of 85.9 GB",
    ]
    assert line_of(page, "sphinx").locator("td").nth(1).inner_text() == "–", "it is not loaded"
    told[0] = METRICS.replace("7.0", "0.0")
    line_of(page, "scripted").locator("td:last-child", has_text="0").wait_for()


def test_a_key_that_may_not_see_the_metrics_sees_the_models(page: Any) -> None:
    page.route("**/metrics", lambda route: route.fulfill(status=403, json={}))
    with page.expect_response("**/metrics"):
        page.get_by_text("Models, workers and queue").click()
    assert line_of(page, "scripted").locator("td").first.inner_text() == "ready"
    assert not page.locator("#figures").is_visible()


def test_what_is_chosen_stays_when_the_models_are_looked_at_again(page: Any) -> None:
    page.select_option("#model", "scripted")
    page.select_option("#language", "en")
    with page.expect_response("**/metrics"):  # the models come before it
        page.get_by_text("Models, workers and queue").click()
    assert page.locator("#model").input_value() == "scripted"
    assert page.locator("#language").input_value() == "en"


# Translations


def test_a_translation_stands_beside_the_text(page: Any) -> None:
    page.locator("#translate").wait_for()
    page.select_option("#translation", "fr")
    page.set_input_files("#file", STANDUP)
    page.click("#go")
    page.locator("#result").wait_for()
    rows = page.locator(".row")
    translations = page.locator(".row .translation")
    assert rows.count() == translations.count() > 1
    assert all(text.strip() for text in translations.all_inner_texts())
    assert translations.first.get_attribute("lang") == "fr"
    text, beside = page.locator(".row").first.evaluate(
        "row => [...row.querySelectorAll('.text, .translation')]"
        ".map(part => part.getBoundingClientRect())"
    )
    assert beside["x"] >= text["x"] + text["width"]
    assert abs(beside["y"] - text["y"]) < 10


TRANSLATED = [
    {"start": 0.0, "end": 2.0, "text": "good morning", "translation": "bonjour", "speaker": "A"},
    {
        "start": 2.0,
        "end": 4.0,
        "text": "all is well",
        "translation": "tout va bien",
        "speaker": "B",
    },
]


def test_a_translation_is_edited_saved_and_opened_again(page: Any) -> None:
    opened(page, TRANSLATED)
    other = page.locator(".translation").nth(1)
    other.fill("tout est bien")
    assert page.locator(".row .text").nth(1).inner_text() == "all is well"
    segments = json.loads(saved(page, "json"))["segments"]
    assert [one["translation"] for one in segments] == ["bonjour", "tout est bien"]
    page.click("#undo")
    assert other.inner_text() == "tout va bien"
    page.reload()
    opened(page, segments)
    assert page.locator(".translation").all_inner_texts() == ["bonjour", "tout est bien"]


def test_subtitles_are_made_of_the_translation(page: Any) -> None:
    opened(page, TRANSLATED)
    page.select_option("#which", "translation")
    assert saved(page, "txt") == "Speaker A: bonjour\n\nSpeaker B: tout va bien\n"
    assert "00:00:02,000 --> 00:00:04,000\nSpeaker B: tout va bien\n" in saved(page, "srt")
    page.select_option("#which", "text")
    assert "all is well" in saved(page, "srt")


def test_rows_are_cut_and_joined_with_their_translations(page: Any) -> None:
    opened(page, TRANSLATED)
    page.locator(".row .text").nth(1).press("Home")
    page.keyboard.press("Backspace")
    assert page.locator(".translation").all_inner_texts() == ["bonjour tout va bien"]


def test_a_transcript_without_translations_has_no_room_for_them(page: Any) -> None:
    opened(page, [{key: TRANSLATED[0][key] for key in ("start", "end", "text")}])
    assert page.locator(".translation").count() == 0
    assert not page.locator("#which").is_visible()


# The microphone


def test_the_turn_that_is_spoken_at_the_end_is_not_lost(page: Any) -> None:
    page.evaluate("window.setTimeout = () => 0")  # it waits for as long as the words take
    page.click("#record")
    page.locator("#captions p:not(.final)").first.wait_for()  # somebody speaks
    page.click("#finish")
    page.locator("#result").wait_for()
    assert page.locator("#captions p.final").count() > 0
    assert page.locator("#captions p:not(.final)").count() == 0


def test_captions_are_read_until_the_recording_is_transcribed(page: Any) -> None:
    page.route("**/v1/audio/transcriptions", lambda route: None)  # never answered
    page.click("#record")
    page.locator("#captions p.final").first.wait_for()
    page.click("#finish")
    page.locator("#words.heard").wait_for()
    assert page.locator("#captions p").first.text_content() in page.locator("#words").inner_text()


# For everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(browser: Any, server: Server, scheme: str) -> None:
    with page_of(browser, server.url, color_scheme=scheme, bypass_csp=True) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        has_status(submitted(page, ROOT / "LICENSE"), "failed")
        has_status(submitted(page, ENGLISH), "completed")
        for summary in page.locator("summary:visible").all():
            summary.click()
        page.locator("#usage-rows tr").first.wait_for()
        assert complaints_of_axe(page) == []
        opened(page, TRANSLATED)
        assert complaints_of_axe(page) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(browser: Any, server: Server, width: int) -> None:
    with page_of(browser, server.url, viewport={"width": width, "height": 800}) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        has_status(submitted(page, ROOT / "LICENSE"), "failed")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        opened(page, [*TRANSLATED, {**TRANSLATED[0], "start": 9, "translation": "w" * 300}])
        assert page.evaluate("document.documentElement.scrollWidth") <= width
