"""Jobs on Modal: its containers share a PostgreSQL, and no folder."""

from __future__ import annotations

import pytest

from reflector_gpu.deploy.on_modal.server import ServerDeployment
from reflector_gpu.deploy.on_modal.settings import carried
from reflector_gpu.errors import ConfigurationError
from tests.api.support import error_of, eventually
from tests.live import LiveServer
from tests.modal.conftest import SCRIPTED, running
from tests.postgresql import cluster, url

__all__ = ["cluster", "url"]  # fixtures

pytestmark = pytest.mark.slow

JOBS = "/v1/jobs"


def test_a_job_is_done_wherever_it_was_given(url: str, clip: bytes) -> None:
    where = {**SCRIPTED, "REFLECTOR_DATABASE_URL": url}
    with (
        running("reflector_transcriber", where) as one,
        running("reflector_transcriber", where) as other,
        one.server.client() as http,
        other.server.client() as elsewhere,
    ):
        answer = http.post(JOBS, files={"file": ("a.wav", clip)})
        assert answer.status_code == 202, answer.text
        path = f"{JOBS}/{answer.json()['id']}"
        eventually(lambda: elsewhere.get(path).json()["status"] == "completed")
        assert elsewhere.get(f"{path}/result").json()["words"]


def test_without_a_database_there_are_no_jobs(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as http:
        for answer in (http.get(JOBS), http.post(JOBS, files={"file": ("a.wav", clip)})):
            message = error_of(answer, 404)["message"]
            assert "REFLECTOR_DATABASE_URL" in message
            assert "secret 'reflector-gpu'" in message


@pytest.mark.parametrize("variable", ["REFLECTOR_DATA_DIR", "REFLECTOR_DATABASE_URL"])
def test_neither_the_folder_nor_the_password_of_the_database_is_carried(variable: str) -> None:
    assert carried({variable: "postgresql://me:secret@db/x"}) == {}


def test_no_more_web_containers_are_kept_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_MODAL_WEB_MIN_CONTAINERS", "2")
    assert ServerDeployment("reflector-padding").web["min_containers"] == 2
    monkeypatch.setenv("REFLECTOR_MODAL_WEB_CONTAINERS", "1")
    with pytest.raises(ConfigurationError, match="WEB_MIN_CONTAINERS: 2 are more than the 1"):
        ServerDeployment("reflector-padding")
