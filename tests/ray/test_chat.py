"""A language model whose replicas are on Ray."""

from __future__ import annotations

import pytest

from tests.api.llms import SUMMARY, user
from tests.ray.cluster import RayCluster

pytestmark = pytest.mark.xdist_group("cluster")  # it takes long to start

LLM = "llm-llm-tiny"


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
