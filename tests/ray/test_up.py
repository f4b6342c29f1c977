"""``reflector-gpu ray up``: a cluster for trying out, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import httpx
import numpy as np
import psutil

from reflector_gpu.types import Samples
from tests.api.support import wav
from tests.cli.program import PROGRAM, environment
from tests.live import KEY


def test_it_serves_until_it_is_interrupted_answers_what_it_began_and_leaves_no_process(
    speech: Samples,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    few = {"RAY_MOST_INGRESSES": "2", "RAY_MOST_REPLICAS": "1"}
    env = environment(MODEL="sphinx", APIKEY=KEY, DIARIZER="bic", **few)
    running = subprocess.Popen(
        [PROGRAM, "ray", "up", "--port", str(port)],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr
    for line in running.stderr:
        if line.startswith("Ready at "):
            break
    else:
        raise AssertionError("it did not start")
    children = psutil.Process(running.pid).children(recursive=True)
    with (
        httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=120) as http,
        http.stream(
            "POST",
            f"http://127.0.0.1:{port}/v1/audio/transcriptions",
            files={"file": wav(np.tile(speech, 2))},  # more calls than an engine takes at once
            data={"stream": "true"},
        ) as answer,
    ):
        lines = (line for line in answer.iter_lines() if line)
        events = [next(lines)]
        os.kill(running.pid, signal.SIGINT)
        events += lines
    assert answer.status_code == 200
    assert len(events) > 5
    assert "transcript.text.done" in events[-2], events[-2:]
    assert events[-1] == "data: [DONE]"
    running.stderr.read()
    assert running.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
