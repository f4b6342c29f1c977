"""Engines that crash, hang or answer nonsense, and how little of it clients are told."""

from __future__ import annotations

import os
import signal

import pytest

from tests.api import engines
from tests.api.requests.stage import Bench, Stage, check_poisoned
from tests.api.support import (
    check_words,
    error_of,
    eventually,
    retry_after,
    upload,
)

pytestmark = pytest.mark.slow


CAUSES = {
    "segfault": "killed by SIGSEGV",
    "abort": "killed by SIGABRT",
    "killed for its memory": "killed by SIGKILL",
    "hang": "it hung and was killed",
}


@pytest.mark.parametrize("how", engines.CRASHES)
def test_what_crashes_the_engine_fails_alone(
    request: pytest.FixtureRequest, bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage: Stage = request.getfixturevalue("hasty" if how == "hang" else "calm")
    bench.check_alone(stage, how)
    alone = 3 if how == "killed for its memory" else 2
    assert caplog.text.count(f"died on 2 items: {CAUSES[how]}") == 1
    assert caplog.text.count(f"died on 1 items: {CAUSES[how]}") == alone


@pytest.mark.parametrize("how", [*engines.GARBAGE, *engines.MISCOUNTS])
def test_what_the_engine_answers_wrong_fails_alone(calm: Stage, bench: Bench, how: str) -> None:
    workers = calm.noted("load")
    bench.check_alone(calm, how)
    assert calm.noted("load") == workers, "the process was not at fault"


@pytest.mark.parametrize("how", ["segfault", "text"])
def test_requests_that_share_a_batch_with_a_bad_one_do_not_notice(
    calm: Stage, bench: Bench, how: str
) -> None:
    files = (bench.clips[0], bench.poison, bench.clips[1])
    first, bad, last = bench.heard(calm, how, *([file] for file in files))
    assert (first.json()["text"], last.json()["text"]) == tuple(bench.texts[:2])
    check_poisoned(error_of(bad, 503))
    assert retry_after(bad) >= 1


@pytest.mark.parametrize("how", engines.BAD_TIMES)
def test_bad_times_are_put_right(calm: Stage, bench: Bench, how: str) -> None:
    expected = upload(calm.server, bench.poison).json()["text"]
    body = upload(calm.server, bench.poison, data={"prompt": how}).json()
    assert body["text"] == expected
    check_words(body["words"], expected)


@pytest.mark.parametrize("working", [False, True])
def test_a_worker_that_is_stopped_is_replaced(
    hasty: Stage, bench: Bench, working: bool, caplog: pytest.LogCaptureFixture
) -> None:
    eventually(lambda: hasty.state == "ready")
    if working:
        with hasty.occupied(bench.long_clip, bench.long_text) as stopped:
            os.kill(stopped, signal.SIGSTOP)
            eventually(lambda: "it hung" in caplog.text)
    else:
        (stopped,) = hasty.noted("load")
        os.kill(stopped, signal.SIGSTOP)
        assert upload(hasty.server, bench.clips[0]).json()["text"] == bench.texts[0]
    assert f"worker {stopped} died on 1 items: it hung and was killed" in caplog.text


@pytest.mark.parametrize("name", ["prompt", "hotwords"])
def test_text_that_no_model_reads_whole_is_refused(calm: Stage, bench: Bench, name: str) -> None:
    error = error_of(upload(calm.server, bench.clips[0], data={name: "x" * 10_001}), 400)
    assert error["param"] == name
    assert "at most 10000 characters" in error["message"]
    assert upload(calm.server, bench.clips[0], data={name: "x" * 10_000}).status_code == 200
