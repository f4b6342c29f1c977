"""A disk that is full, and hosts that break a download off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.hosts import Answer, AudioHost
from tests.api.requests.stage import Bench, Stage, staged
from tests.api.support import (
    ask_url,
    error_of,
    eventually,
    retry_after,
    silence,
    upload,
    wav,
)
from tests.disks import small_disk

pytestmark = pytest.mark.slow


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    tmp_path: Path, bench: Bench, host: AudioHost
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    large = wav(silence(40))
    with small_disk(folder, 1_000) as disk, staged(tmp_path, spool_dir=disk) as stage:
        empty = os.statvfs(disk).f_bfree
        with stage.occupied(bench.long_clip, bench.long_text):
            for response in (
                upload(stage.server, large),
                upload(stage.server, bench.clips[0], large),
                ask_url(stage.server, host.put("/large.wav", Answer(large))),
            ):
                assert error_of(response, 503)["code"] == "storage_full"
                assert retry_after(response) >= 1
            assert os.statvfs(disk).f_bfree < empty
        eventually(lambda: os.statvfs(disk).f_bfree == empty)
        assert not [path for path in disk.rglob("*") if path.is_file()]
        assert upload(stage.server, bench.clips[0]).json()["text"] == bench.texts[0]


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {}], ids=["resumed", "begun anew"])
def test_a_download_that_breaks_off_once_is_whole_in_the_end(
    calm: Stage, pauses: bytes, host: AudioHost, headers: dict[str, str], nothing_left: None
) -> None:
    half = len(pauses) // 2
    url = host.put("/breaks.wav", Answer(pauses, headers=headers, cuts=[half]))
    asked = len(host.ranges)
    healed = ask_url(calm.server, url)
    assert host.ranges[asked:] == ([f"bytes={half}-"] if headers else [])
    assert healed.json()["words"] == upload(calm.server, pauses).json()["words"]


def test_502_for_a_download_that_breaks_off_beyond_its_retries(
    calm: Stage, pauses: bytes, host: AudioHost, nothing_left: None
) -> None:
    half = len(pauses) // 2
    workers = calm.noted("load")
    url = host.put("/breaks.wav", Answer(pauses, cuts=[half] * 2))
    assert error_of(ask_url(calm.server, url), 502)["code"] == "upstream_failed"
    assert ask_url(calm.server, url).status_code == 200
    assert calm.noted("load") == workers
