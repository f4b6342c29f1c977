"""LangChain: its parser for audio files, and its chat model with tools."""

from __future__ import annotations

import pytest

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, client, text_of


@pytest.fixture
def _ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydub, by which the parser reads and writes audio, calls the ffmpeg of a wheel."""
    segment = client("pydub").AudioSegment
    monkeypatch.setattr(segment, "converter", client("imageio_ffmpeg").get_ffmpeg_exe())


@pytest.mark.usefixtures("_ffmpeg")
@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe"])
def test_the_audio_parser(server: Server, model: str) -> None:
    audio = client("langchain_community.document_loaders.parsers.audio")
    blobs = client("langchain_core.documents.base")
    parser = audio.OpenAIWhisperParser(api_key=KEY, base_url=server.api, language="en", model=model)
    (document,) = parser.lazy_parse(blobs.Blob.from_path(ENGLISH))
    assert document.page_content == text_of(ENGLISH)
    assert document.metadata["source"] == str(ENGLISH)


def test_chat(server: Server) -> None:
    model = client("langchain_openai").ChatOpenAI(
        base_url=server.api, api_key=KEY, model="llm-tiny", max_tokens=20, max_retries=0
    )
    assert model.invoke("Count to ten.").content
    assert "".join(chunk.content for chunk in model.stream("Count to ten."))
