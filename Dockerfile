# syntax=docker/dockerfile:1
#
# Two images of the same server:
#
#   docker build -t reflector-gpu:cpu .
#   docker build -t reflector-gpu:cuda --target cuda .
#
# docs/docker.md says how to run them, and what the arguments are for.

ARG BASE=docker.io/library/python:3.11-slim-bookworm

# What both have in common: a user without rights, folders that it may write to, and how to start.
FROM ${BASE} AS base
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin reflector \
    && install --directory --owner=reflector --group=reflector /models /data \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_CACHE_DIR=/var/cache/pip \
    HF_HOME=/models \
    XDG_CACHE_HOME=/models/cache \
    REFLECTOR_HOST=0.0.0.0
EXPOSE 8000
# Docker may give a container its client's proxies, which know nothing of 127.0.0.1.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15m \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:%s/health/ready' % os.environ.get('REFLECTOR_PORT', 8000), timeout=4)"]
ENTRYPOINT ["reflector-gpu"]
CMD ["serve"]

# Our own package is built apart: images get the wheel, not the source.
FROM base AS wheel
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN --mount=type=cache,target=/var/cache/pip \
    pip wheel --no-deps --wheel-dir /wheels .

# What others wrote changes less often than our package, and so is a layer below it. hadolint does not
# see that pip's cache is a mount, of which the image keeps nothing.
FROM base AS cpu-packages
WORKDIR /build
ARG EXTRAS=parakeet,whisper,segmentation,translation,llm,postgresql,otel,webrtc
COPY pyproject.toml constraints.txt docker/requirements.py ./
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/var/cache/pip \
    python requirements.py "${EXTRAS}" < pyproject.toml > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt

# ONNX Runtime for GPUs replaces the one for CPUs: both are the same module. It brings its libraries,
# those of CUDA 13, as PyTorch does. CTranslate2 wants cuBLAS of CUDA 12, which it does not bring. The
# two lie in different folders, and each is loaded by its file.
FROM base AS cuda-packages
WORKDIR /build
ARG EXTRAS=parakeet,whisper,segmentation,translation,llm,postgresql,otel,webrtc,torch
COPY pyproject.toml constraints.txt docker/requirements.py ./
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/var/cache/pip \
    python requirements.py "${EXTRAS}" < pyproject.toml > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt \
    && pip uninstall --yes onnxruntime \
    && pip install -c constraints.txt 'onnxruntime-gpu[cuda,cudnn]' nvidia-cublas-cu12

FROM base AS cuda
COPY --from=cuda-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
# NVIDIA's container toolkit reads two of them: which cards, and which of the driver's libraries.
ENV REFLECTOR_PROFILE=gpu \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /home/reflector
# Weights that the image brings along: --build-arg MODELS="base segmentation"
ARG MODELS=
RUN for model in ${MODELS}; do reflector-gpu models pull "${model}" || exit 1; done

# The last target is the one that is built if none is named.
FROM base AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
ENV REFLECTOR_PROFILE=cpu
USER 10001:10001
WORKDIR /home/reflector
ARG MODELS=
RUN for model in ${MODELS}; do reflector-gpu models pull "${model}" || exit 1; done
