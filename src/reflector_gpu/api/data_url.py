"""Data URLs (RFC 2397), in which OpenAI clients send the voices of speakers."""

from __future__ import annotations

import base64
import binascii
import string
from urllib.parse import unquote_to_bytes

from reflector_gpu.errors import InvalidRequest

_WHITE_SPACE = string.whitespace.encode()


def data_of(url: str, param: str) -> bytes:
    """The bytes in ``url``. Its media type is ignored.

    White space in the base64 and around the URL is ignored: ``base64`` and ``echo`` add some.

    Raises:
        InvalidRequest: it is not a data URL, or is broken. The error is about ``param``.
    """
    scheme, _, rest = url.strip().partition(":")
    kind, comma, data = rest.partition(",")
    if scheme.lower() != "data" or not comma:
        raise InvalidRequest(
            f"{param}: not a data URL; send audio as 'data:audio/wav;base64,...'.", param=param
        )
    content = unquote_to_bytes(data)
    if not "".join(kind.split()).lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(content.translate(None, _WHITE_SPACE), validate=True)
    except binascii.Error as error:
        raise InvalidRequest(f"{param}: its base64 is broken: {error}.", param=param) from error
