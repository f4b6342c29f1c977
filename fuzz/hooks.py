"""What schemathesis loads before it begins: how to write bodies of types that it does not know."""

import schemathesis

schemathesis.serializer.alias("application/sdp", "text/plain")  # offers of WebRTC
