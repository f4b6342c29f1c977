"""What is lost when replicas and nodes die, and when the application is replaced: nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import eventually, wav
from tests.ray.cluster import RayCluster, engine_of, kill, node_of
from tests.waiting import until

TRANSCRIPTIONS = "/v1/audio/transcriptions"
DURING_REDEPLOY = 160
DURING_KILL = 20
DURING_ENGINES_KILL = 6
JOBS = 6


def statuses(answers: list[Future[httpx.Response]]) -> list[int]:
    return [answer.result().status_code for answer in answers]


@pytest.fixture
def send(cluster: RayCluster, speech: Samples) -> Iterator[Callable[[str, int], httpx.Response]]:
    """Sends a piece of the meeting to a model, another one for each number."""
    with cluster.client() as http:

        def upload(model: str, number: int) -> httpx.Response:
            begin = number % 40 * SAMPLE_RATE
            audio = wav(speech[begin : begin + 5 * SAMPLE_RATE])
            return http.post(TRANSCRIPTIONS, files={"file": audio}, data={"model": model})

        yield upload


def test_no_request_is_lost_when_a_replica_of_an_engine_is_killed(
    cluster: RayCluster, send: Callable[[str, int], httpx.Response]
) -> None:
    before = cluster.replicas("recogniser-sphinx")
    assert len(before) == 2
    with ThreadPoolExecutor(DURING_KILL) as threads:
        answers = [threads.submit(send, "sphinx", number) for number in range(DURING_KILL)]
        next(as_completed(answers))  # both replicas have work of the others now
        kill(before[0])
        assert statuses(answers) == [200] * DURING_KILL
    until(lambda: len(cluster.replicas("recogniser-sphinx")) == 2)


def test_a_killed_engine_is_loaded_again_and_neither_requests_nor_replicas_are_lost(
    cluster: RayCluster, send: Callable[[str, int], httpx.Response]
) -> None:
    replicas = cluster.replicas("recogniser-sphinx")
    with ThreadPoolExecutor(DURING_ENGINES_KILL) as threads:
        answers = [threads.submit(send, "sphinx", n) for n in range(DURING_ENGINES_KILL)]
        next(as_completed(answers))
        for replica in replicas:
            kill(engine_of(replica))
        assert statuses(answers) == [200] * DURING_ENGINES_KILL
    assert cluster.replicas("recogniser-sphinx") == replicas


def test_requests_of_a_killed_server_fail_at_once_and_are_answered_when_sent_again(
    cluster: RayCluster, send: Callable[[str, int], httpx.Response], speech: Samples
) -> None:
    audio = wav(speech[: 5 * SAMPLE_RATE])

    def openai() -> str:
        """An answer that OpenAI's client gets, which tries twice more if need be."""
        with cluster.openai() as client:
            again = client.with_options(max_retries=2)
            return again.audio.transcriptions.create(model="sphinx", file=("a.wav", audio)).text

    with ThreadPoolExecutor(DURING_KILL) as threads:
        answers = [threads.submit(send, "sphinx", number) for number in range(8)]
        texts = [threads.submit(openai) for _ in range(4)]
        next(as_completed(answers))
        kill(cluster.nearest_server())
        failed = [one.result() for one in answers if one.result().status_code != 200]
        assert all(text.result() for text in texts)
    assert {(one.status_code, one.text) for one in failed} == {(500, "Internal Server Error")}
    cluster.settled()
    until(lambda: len(cluster.servers()) == 2)


def test_no_request_is_lost_while_the_application_is_replaced(
    cluster: RayCluster, send: Callable[[str, int], httpx.Response]
) -> None:
    before = {one.pid for one in cluster.servers()}
    with ThreadPoolExecutor(4) as threads, in_background(cluster, "1.5"):
        answers = [threads.submit(send, "scripted", n) for n in range(DURING_REDEPLOY // 2)]
        until(lambda: not before & {one.pid for one in cluster.servers()})
        answers += [threads.submit(send, "scripted", n) for n in range(DURING_REDEPLOY // 2)]
        assert statuses(answers) == [200] * DURING_REDEPLOY


@contextmanager
def in_background(cluster: RayCluster, cpus: str) -> Iterator[None]:
    """Replace every replica by one of so many cores, meanwhile."""
    changed = {"REFLECTOR_RAY_CPUS": cpus, "REFLECTOR_RAY_INGRESS_CPUS": cpus}
    deploying = threading.Thread(target=cluster.deploy, args=(changed,))
    deploying.start()
    try:
        yield
    finally:
        deploying.join()


def test_work_lands_on_both_nodes_and_one_of_them_may_die(
    cluster: RayCluster,
    send: Callable[[str, int], httpx.Response],
    speech: Samples,
    jobs: dict[str, str],
) -> None:
    assert len({node_of(one) for one in cluster.replicas("recogniser-sphinx")}) == 2
    assert len({node_of(one) for one in cluster.servers()}) == 2

    def twice(number: int) -> httpx.Response:
        """What a client does: it sends its request again if a server dies."""
        try:
            answer = send("sphinx", number)
        except httpx.TransportError:
            return send("sphinx", number)
        return answer if answer.status_code == 200 else send("sphinx", number)

    audio = wav(speech[: 20 * SAMPLE_RATE])
    with ThreadPoolExecutor(DURING_KILL) as threads, cluster.client() as http:
        made = accepted(http, audio) if jobs else []
        answers = [threads.submit(twice, number) for number in range(DURING_KILL)]
        next(as_completed(answers))
        cluster.kill_node()
        assert statuses(answers) == [200] * DURING_KILL
        for job in made:
            eventually(partial(_is_completed, http, job), 90)
        results = [http.get(f"/v1/jobs/{job}/result").json() for job in made]
    assert all(result == results[0] and result["words"] for result in results)
    cluster.add_node()
    cluster.settled()


def accepted(http: httpx.Client, audio: bytes) -> list[str]:
    """Jobs that both servers have accepted."""
    form = {"model": "sphinx"}
    answers = [http.post("/v1/jobs", files={"file": audio}, data=form) for _ in range(JOBS)]
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["id"] for answer in answers]


def _is_completed(http: httpx.Client, job: str) -> bool:
    answer = http.get(f"/v1/jobs/{job}")
    return answer.status_code == 200 and answer.json()["status"] == "completed"
