"""A language model whose replicas are on Ray."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.api.llms import COUNT, SUMMARY, user
from tests.live import KEY
from tests.ray.cluster import RayCluster, kill
from tests.waiting import until

LLM = "llm-llm-tiny"
AT_ONCE = 12


def test_openais_client_gets_an_answer_of_a_replica(cluster: RayCluster) -> None:
    with cluster.openai() as openai:
        made = openai.chat.completions.create(
            model="llm", messages=user("Summarize the meeting."), temperature=0
        )
    assert made.choices[0].message.content == SUMMARY
    assert made.choices[0].finish_reason == "stop"
    assert made.usage
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (15, 15)
    assert made.model == "llm-tiny"
    assert cluster.replicas(LLM)


def test_a_stream_comes_in_pieces_through_the_proxy(cluster: RayCluster) -> None:
    with cluster.openai() as openai:
        chunks = list(
            openai.chat.completions.create(
                model="llm",
                messages=user("Summarize the meeting."),
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    *pieces, end, usage = chunks
    texts = [piece.choices[0].delta.content or "" for piece in pieces]
    assert "".join(texts) == SUMMARY
    assert len(texts) > 5
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage
    assert usage.usage.completion_tokens == 15


def test_no_answer_is_lost_when_a_replica_is_killed(cluster: RayCluster) -> None:
    def ask(_: int) -> str:
        with cluster.client(KEY) as http:
            body = {"messages": user("Count to ten."), "temperature": 0}
            answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(ask, range(2 * AT_ONCE))
        kill(cluster.replicas(LLM)[0])
        assert list(answers) == [COUNT] * 2 * AT_ONCE
    until(lambda: len(cluster.replicas(LLM)) == 2)
