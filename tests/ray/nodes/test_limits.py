"""The limits of a key are those of the cluster."""

from __future__ import annotations

from contextlib import ExitStack

import httpx

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import error_of, eventually, send_raw, wav
from tests.ray.cluster import RayCluster
from tests.ray.nodes.conftest import KEY_REQUESTS, OTHER_KEY


def test_requests_of_a_key_count_on_all_servers(cluster: RayCluster, speech: Samples) -> None:
    """Each of the two servers has about half of what the key may have in work."""
    assert len(cluster.servers()) == 2
    clip = wav(speech[: 4 * SAMPLE_RATE])
    with cluster.client(OTHER_KEY) as http, cluster.client() as others, ExitStack() as held:

        def upload(client: httpx.Client = http) -> httpx.Response:
            return client.post("/v1/audio/transcriptions", files={"file": clip})

        request = http.build_request("POST", "/v1/audio/transcriptions", files={"file": clip})
        for _ in range(KEY_REQUESTS):
            held.enter_context(send_raw(cluster, request, share=0.5))
        eventually(lambda: upload().status_code == 429)
        refused = error_of(upload(), 429)
        assert f"of {KEY_REQUESTS} requests in work" in refused["message"]
        assert upload(others).status_code == 200
        held.close()
        eventually(lambda: upload().status_code == 200)
