"""The composition root: what the API, the command line and deployments work with."""

from reflector_gpu.service.request import TranscriptionRequest
from reflector_gpu.service.service import Service

__all__ = ["Service", "TranscriptionRequest"]
