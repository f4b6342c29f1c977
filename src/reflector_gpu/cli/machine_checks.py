"""``doctor``'s checks of the machine, and of what the settings want from it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnxruntime

from reflector_gpu.cli.banner import key_state
from reflector_gpu.cli.checks import Check, Status
from reflector_gpu.cli.listen import AlreadyServed, listen
from reflector_gpu.errors import ConfigurationError, ReflectorError
from reflector_gpu.networks import network_warnings
from reflector_gpu.service import Service
from reflector_gpu.service.worker_pools import available_cores
from reflector_gpu.settings import Settings
from reflector_gpu.store.configured import has_keys
from reflector_gpu.types import TranscribeOptions
from reflector_gpu.version import __version__

_GIB = 2**30
_LITTLE_MEMORY = _GIB
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_NVIDIA_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader")


def machine() -> Iterator[Check]:
    system = f"{platform.system()} {platform.machine()}"
    running = f"reflector-gpu {__version__}, Python {platform.python_version()}, {system}"
    yield Check("program", Status.OK, running)
    yield Check("cores", Status.OK, str(available_cores()))
    memory = _memory()
    if memory < _LITTLE_MEMORY:
        fix = "give this machine or container at least 1 GiB"
        yield Check("memory", Status.WARN, f"{memory / _GIB:.1f} GiB", fix)
    else:
        yield Check("memory", Status.OK, f"{memory / _GIB:.1f} GiB")


def devices(settings: Settings) -> Check:
    """Whether there is a GPU, and whether ONNX Runtime can use it."""
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    cards = _nvidia_cards()
    if cards and cuda:
        return Check("devices", Status.OK, f"CUDA on {', '.join(cards)}")
    if cards:
        detail = f"{', '.join(cards)}, but this ONNX Runtime is for CPUs only"
        fix = "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return Check("devices", Status.WARN, detail, fix)
    if set(settings.devices) != {"cpu"}:
        fix = "install the NVIDIA driver (nvidia-smi must list the card), or REFLECTOR_DEVICES=cpu"
        detail = f"CPU only, but REFLECTOR_DEVICES wants {', '.join(settings.devices)}"
        return Check("devices", Status.WARN, detail, fix)
    return Check("devices", Status.OK, "CPU only")


def layout(service: Service) -> Iterator[Check]:
    """How many workers the configured models get, and on which devices."""
    for model in service.configured:
        counted = Counter(map(str, service.workers.layout(model)))
        workers = [f"{count} on {where}" for where, count in counted.items()]
        yield Check("workers", Status.OK, f"{model.name}: {', '.join(workers)}")


def unnamed_language(service: Service) -> Check:
    """Which model answers requests that name no language, and whether it can detect one."""
    model = service.resolve(None, TranscribeOptions())
    if caveat := service.recognisers.caveat(model):
        absent = next((m for m in service.recognisers.automatic if m.spec.detects), None)
        fix = absent.installation if absent else "add a Whisper to REFLECTOR_AUTO_MODELS"
        return Check("language", Status.WARN, caveat, fix)
    return Check("language", Status.OK, f"requests that name none are answered by {model.name}")


def spool(settings: Settings) -> Check:
    """Whether there is room for the audio of running requests."""
    folder = settings.spool_dir or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1024))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}"
        return Check("spool", Status.FAIL, detail, "set REFLECTOR_SPOOL_DIR to another folder")
    detail = f"{free / _GIB:.1f} GiB free in {folder}"
    if free < settings.max_upload_mb * 1_000_000:
        fix = (
            f"one request may bring {settings.max_upload_mb:g} MB: free some space, set "
            "REFLECTOR_SPOOL_DIR to another folder, or lower REFLECTOR_MAX_UPLOAD_MB"
        )
        return Check("spool", Status.WARN, detail, fix)
    return Check("spool", Status.OK, detail)


def port(settings: Settings) -> Check:
    """Whether the server can listen on its port."""
    where = f"{settings.host}:{settings.port}"
    try:
        listen(settings.host, settings.port).close()
    except AlreadyServed:
        detail = f"a reflector-gpu server, with settings of its own, already listens on {where}"
        return Check("port", Status.OK, detail)
    except ConfigurationError as error:
        fix = "stop the program that listens there, or set REFLECTOR_PORT"
        return Check("port", Status.WARN, error.message, fix)
    return Check("port", Status.OK, f"{where} is free")


def access(settings: Settings) -> Iterator[Check]:
    """Where jobs and named keys are kept, and who may use the server."""
    named_keys = False
    try:
        named_keys = has_keys(settings)
    except ReflectorError as error:
        fix = "set REFLECTOR_DATA_DIR to another folder, or mend REFLECTOR_DATABASE_URL"
        yield Check("jobs", Status.FAIL, error.message, fix)
    else:
        yield Check("jobs", Status.OK, _kept_in(settings))
    yield key(settings, named_keys)


def _kept_in(settings: Settings) -> str:
    folder = str(settings.data_dir) if settings.data_dir else ""
    if settings.database_url:
        return f"kept in PostgreSQL{f' and {folder}' if folder else ''}, with named keys"
    if folder:
        return f"kept in {folder}, with named keys"
    return "none are kept, nor named keys: neither REFLECTOR_DATA_DIR nor a database is set"


def key(settings: Settings, named_keys: bool = False) -> Check:
    """Who may use the server."""
    detail, _ = key_state(settings, named_keys=named_keys)
    fix = "set REFLECTOR_APIKEY, for example to what `openssl rand -hex 24` prints"
    try:
        settings.check_exposed(named_keys=named_keys)
    except ConfigurationError:
        detail = f"none is set, and {settings.host} is open to other machines"
        return Check("key", Status.FAIL, detail, fix)
    warnings = network_warnings(
        settings.trusted_networks, settings.trusted_proxies, settings.url_allow
    )
    if warnings:
        narrow = "name only networks in which you know every machine"
        return Check("key", Status.WARN, "; ".join(warnings), narrow)
    if settings.open_to_all and not (settings.loopback or named_keys):
        return Check("key", Status.WARN, detail, fix)
    return Check("key", Status.OK, detail)


def _memory() -> int:
    """Bytes of memory of the machine, or of the container if it has less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(limits)


def _nvidia_cards() -> list[str]:
    """The name and the memory of each GPU that the driver knows."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(  # noqa: S603  the arguments are fixed
            [program, *_NVIDIA_QUERY], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
