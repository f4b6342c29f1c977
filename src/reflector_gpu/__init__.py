"""Speech inference behind one HTTP API: words with times, speakers, translations, completions."""

import os

__version__ = "0.1.0"

# What is heard here is nobody else's business, and neither is that it was: these libraries report
# to their makers unless told not to, and read it when they are first imported.
for _variable in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
