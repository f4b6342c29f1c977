"""What an operator opens to the URLs of clients, and nothing else."""

from __future__ import annotations

import pytest

from reflector_gpu.audio.guard import (
    AddressGuard,
)
from reflector_gpu.errors import ConfigurationError, UrlForbidden
from tests.audio.sources.resolving import Names, resolve


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("minio", "http://minio:9000/a"),
        ("MinIO.", "http://minio/a"),
        ("minio:9000", "http://minio:9000/a"),
        ("minio:80", "http://minio/a"),
        ("*.corp.test", "https://a.b.corp.test/"),
        ("*.corp.test:443", "https://a.b.corp.test/"),
        ("bücher.test", "http://xn--bcher-kva.test/"),
        ("10.0.0.7", "http://minio/"),
        ("10.0.0.0/8", "http://minio/"),
        (" 10.0.0.7:9000 ", "http://10.0.0.7:9000/"),
        ("fd00::/8", "http://[fd00::5]/"),
        ("[fd00::5]:9000", "http://[FD00::5]:9000/"),
        ("fd00::5", "http://[fd00:0::5]/"),
        ("10.0.0.7", "http://[::ffff:10.0.0.7]/"),
        ("localhost", "http://localhost:9000/"),
        ("127.0.0.1", "http://localhost/"),
        ("::1", "http://files.localhost/"),
        ("169.254.169.254", "http://169.254.169.254/"),
    ],
)
def test_an_operator_can_open_hosts(entry: str, url: str) -> None:
    names = Names(minio=["10.0.0.7"], a_b_corp_test=["10.1.1.1"])
    names.known["xn--bcher-kva.test"] = ["10.2.2.2"]
    with pytest.raises(UrlForbidden, match="REFLECTOR_URL_ALLOW"):
        resolve(url, names=names)
    assert resolve(url, "other", entry, "", names=names)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("minio:9000", "http://minio:9001/"),
        ("minio", "http://minio.corp.test/"),
        ("minio", "http://notminio/"),
        ("*.corp.test", "http://corp.test/"),
        ("*.corp.test", "http://evilcorp.test/"),
        ("10.0.0.0/24", "http://10.0.1.0/"),
        ("10.0.0.7:9000", "http://10.0.0.7/"),
        ("127.0.0.1", "http://2130706433/"),
        ("127.0.0.0/8", "http://[::1]/"),
        ("10.0.0.7", "http://split.test/"),
        ("metadata.test", "http://metadata.test/"),
    ],
)
def test_an_opening_opens_nothing_else(entry: str, url: str) -> None:
    private = "minio minio_corp_test notminio corp_test evilcorp_test".split()
    names = Names(**{name: ["10.9.9.9"] for name in private}, split_test=["10.0.0.7", "10.0.0.8"])
    names.known["metadata.test"] = ["64:ff9b::169.254.169.254"]
    with pytest.raises(UrlForbidden):
        resolve(url, entry, names=names)


BAD_ENTRIES = [
    *"* *. *.* a.*.b http://minio:9000 minio/ minio:port minio:0 minio:70000 10.0.0.1/8".split(),
    *"10.0.0.0/33 10.0.0 0x7f.1 *.10.0.0.1 user@minio a..b [::1 fe80::1%eth0 minio,other".split(),
    *["a b", "mini\ud800o"],
]


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_a_bad_entry_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLECTOR_URL_ALLOW") as caught:
        AddressGuard(["fine.test", entry])
    assert repr(entry) in str(caught.value)
