"""What tests ask of /pad."""

from __future__ import annotations

import httpx

from tests.live import LiveServer

PAD = "/pad"

SIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0123456789abcdef&x=a%2Fb"


def fields(track_url: str, output_url: str, seconds: object = 2.5) -> dict[str, object]:
    return {
        "track_url": track_url,
        "output_url": output_url,
        "start_time_seconds": seconds,
        "track_index": 3,
    }


def ask(server: LiveServer, body: object) -> httpx.Response:
    with server.client() as client:
        return client.post(PAD, json=body)
