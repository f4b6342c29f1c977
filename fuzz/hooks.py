"""What schemathesis loads before it begins: how bodies are written of which it knows nothing."""

import schemathesis

schemathesis.serializer.alias("application/sdp", "text/plain")  # offers of WebRTC
