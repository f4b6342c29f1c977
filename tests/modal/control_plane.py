"""What answers the Modal client in place of Modal: enough of its control plane to deploy against.

Everything that is asked of it is kept, as Modal's own messages; nothing is built and nothing runs.
Objects are known by their content, as Modal knows them: what changes nothing gets the same id.
"""

# ruff: noqa: N802  the methods have Modal's names

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # no types
from grpclib import GRPCError, Status
from grpclib.server import Server, Stream
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_grpc
from modal_proto import api_pb2 as api

from tests.waiting import PATIENCE_SECONDS

WORKSPACE = "xxxx"
_BUILDER = "2025.06"
_DONE = api.GenericResult(status=api.GenericResult.GENERIC_STATUS_SUCCESS)
_YEAR = 365 * 86400


class ControlPlane:
    """Runs inside the ``with`` block; ``environment`` is how the Modal client finds it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets: dict[str, dict[str, str]] = {name: {} for name in secrets}
        """Named ones, and what was put into those that were created here."""
        self.asked: defaultdict[str, list[Any]] = defaultdict(list)
        """By the name of the call: the requests, in order."""
        self.refused: set[str] = set()
        """Calls that get an error."""
        self.in_volume: set[str] = set()
        """Paths of files."""
        self.unknown: list[str] = []
        """Calls that were made and are not answered here."""
        self.uploaded: dict[str, bytes] = {}
        self._ids: dict[tuple[str, Hashable], str] = {}
        self._apps: dict[str, str] = {}
        self._functions: dict[tuple[str, str], api.FunctionGetResponse] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="control plane")
        self._port = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self._port}",
            "MODAL_TOKEN_ID": "ak-test",
            "MODAL_TOKEN_SECRET": "as-test",
            "MODAL_CONFIG_PATH": "/dev/null/none.toml",
        }

    def secret_id(self, name: str) -> str:
        return self._id("st", name)

    def variables_of(self, secret_ids: Iterable[str]) -> dict[str, str]:
        """What the secrets without names among these hold."""
        asked = [one for one in self.asked["SecretGetOrCreate"] if not one.deployment_name]
        held = {self._id("st", tuple(sorted(one.env_dict.items()))): one.env_dict for one in asked}
        return {k: v for key in secret_ids for k, v in held.get(key, {}).items()}

    def __enter__(self) -> ControlPlane:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._server = Server([_service(self)], status_details_codec=custom_detail_codec)
        await self._server.start("127.0.0.1", 0)
        self._port = self._server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # it has started

    async def _stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _id(self, kind: str, content: Hashable) -> str:
        return self._ids.setdefault((kind, content), f"{kind}-{len(self._ids) + 1:06d}")

    # The session

    async def ClientHello(self, _: Empty) -> api.ClientHelloResponse:
        return api.ClientHelloResponse()

    async def AuthTokenGet(self, _: api.AuthTokenGetRequest) -> api.AuthTokenGetResponse:
        parts = ({"alg": "HS256", "typ": "JWT"}, {"exp": int(time.time()) + _YEAR})
        encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
        token = b".".join(part.rstrip(b"=") for part in encoded).decode()
        return api.AuthTokenGetResponse(token=f"{token}.signature")

    async def EnvironmentGetOrCreate(
        self, asked: api.EnvironmentGetOrCreateRequest
    ) -> api.EnvironmentGetOrCreateResponse:
        settings = api.EnvironmentSettings(image_builder_version=_BUILDER)
        name = asked.deployment_name or "main"
        metadata = api.EnvironmentMetadata(name=name, settings=settings)
        return api.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    # Apps

    async def AppGetByDeploymentName(
        self, asked: api.AppGetByDeploymentNameRequest
    ) -> api.AppGetByDeploymentNameResponse:
        found = [key for key, name in self._apps.items() if name == asked.name]
        return api.AppGetByDeploymentNameResponse(app_id=found[0] if found else "")

    async def AppCreate(self, asked: api.AppCreateRequest) -> api.AppCreateResponse:
        return api.AppCreateResponse(app_id=self._app(asked.description))

    async def AppGetOrCreate(self, asked: api.AppGetOrCreateRequest) -> api.AppGetOrCreateResponse:
        return api.AppGetOrCreateResponse(app_id=self._app(asked.app_name))

    async def AppGetLayout(self, _: api.AppGetLayoutRequest) -> api.AppGetLayoutResponse:
        return api.AppGetLayoutResponse()

    async def AppPublish(self, asked: api.AppPublishRequest) -> api.AppPublishResponse:
        return api.AppPublishResponse(url=f"https://modal.invalid/{asked.name}")

    async def AppSetTags(self, _: object) -> Empty:
        return Empty()

    async def AppHeartbeat(self, _: object) -> Empty:
        return Empty()

    async def AppClientDisconnect(self, _: object) -> Empty:
        return Empty()

    def _app(self, name: str) -> str:
        key = self._id("ap", name)
        self._apps[key] = name
        return key

    # What containers hold

    async def MountPutFile(self, asked: api.MountPutFileRequest) -> api.MountPutFileResponse:
        if asked.WhichOneof("data_oneof") == "data":
            self.uploaded[asked.sha256_hex] = asked.data
        return api.MountPutFileResponse(exists=asked.sha256_hex in self.uploaded)

    async def MountBatchedCheckExistence(
        self, asked: api.MountBatchedCheckExistenceRequest
    ) -> api.MountBatchedCheckExistenceResponse:
        missing = [one for one in asked.sha256_hex_hashes if one not in self.uploaded]
        return api.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountGetOrCreate(
        self, asked: api.MountGetOrCreateRequest
    ) -> api.MountGetOrCreateResponse:
        files = tuple(sorted((file.filename, file.sha256_hex) for file in asked.files))
        key = self._id("mo", asked.deployment_name or files)
        return api.MountGetOrCreateResponse(mount_id=key)

    async def ImageGetOrCreate(
        self, asked: api.ImageGetOrCreateRequest
    ) -> api.ImageGetOrCreateResponse:
        key = self._id("im", asked.image.SerializeToString(deterministic=True))
        metadata = api.ImageMetadata(
            python_version_info="3.11.7", image_builder_version=asked.builder_version
        )
        return api.ImageGetOrCreateResponse(image_id=key, result=_DONE, metadata=metadata)

    async def SecretGetOrCreate(
        self, asked: api.SecretGetOrCreateRequest
    ) -> api.SecretGetOrCreateResponse:
        name = asked.deployment_name
        if asked.env_dict and name:
            self.secrets[name] = dict(asked.env_dict)
        elif name and name not in self.secrets:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'")
        key = self._id("st", name or tuple(sorted(asked.env_dict.items())))
        return api.SecretGetOrCreateResponse(secret_id=key)

    async def SecretList(self, _: api.SecretListRequest) -> api.SecretListResponse:
        items = [
            api.SecretListItem(label=name, secret_id=self._id("st", name)) for name in self.secrets
        ]
        for item in items:
            item.metadata.name = item.label
        return api.SecretListResponse(items=items)

    async def VolumeGetOrCreate(
        self, asked: api.VolumeGetOrCreateRequest
    ) -> api.VolumeGetOrCreateResponse:
        name = asked.deployment_name
        version = api.VOLUME_FS_VERSION_V2
        metadata = api.VolumeMetadata(name=name, version=version)
        return api.VolumeGetOrCreateResponse(
            volume_id=self._id("vo", name), version=version, metadata=metadata
        )

    async def VolumeListFiles2(
        self, asked: api.VolumeListFiles2Request
    ) -> api.VolumeListFiles2Response:
        found = [path for path in self.in_volume if path.startswith(f"{asked.path}/")]
        if not found:
            raise GRPCError(Status.NOT_FOUND, f"no such file or directory: {asked.path}")
        entries = [api.FileEntry(path=path, type=api.FileEntry.FILE) for path in found]
        return api.VolumeListFiles2Response(entries=entries)

    # Functions and classes

    async def FunctionPrecreate(
        self, asked: api.FunctionPrecreateRequest
    ) -> api.FunctionPrecreateResponse:
        key = self._id("fu", (asked.app_id, asked.function_name))
        handle = api.FunctionHandleMetadata(
            function_name=asked.function_name, function_type=asked.function_type
        )
        return api.FunctionPrecreateResponse(function_id=key, handle_metadata=handle)

    async def FunctionCreate(self, asked: api.FunctionCreateRequest) -> api.FunctionCreateResponse:
        key = self._id("fu", (asked.app_id, asked.function.function_name))
        handle = api.FunctionHandleMetadata(function_name=asked.function.function_name)
        if asked.function.webhook_config.type:
            name = f"{self._apps[asked.app_id]}-{asked.function.function_name}"
            handle.web_url = f"https://{WORKSPACE}--{name}.modal.run"
        data = api.FunctionData(web_url=handle.web_url)
        data.ranked_functions.add(rank=0, function=asked.function)
        self._functions[self._apps[asked.app_id], asked.function.function_name] = (
            api.FunctionGetResponse(function_id=key, handle_metadata=handle, function=data)
        )
        return api.FunctionCreateResponse(
            function_id=key, function_data=data, handle_metadata=handle
        )

    async def FunctionGet(self, asked: api.FunctionGetRequest) -> api.FunctionGetResponse:
        return self._functions[asked.app_name, asked.object_tag]

    async def ClassCreate(self, asked: api.ClassCreateRequest) -> api.ClassCreateResponse:
        return api.ClassCreateResponse(class_id=self._id("cs", (asked.app_id, len(self._ids))))


def _service(plane: ControlPlane) -> Any:
    """The control plane as the library wants it: every call of Modal's, answered or refused."""

    def handler(name: str) -> Any:
        async def answer(_: object, stream: Stream[Any, Any]) -> None:
            asked = await stream.recv_message()
            plane.asked[name].append(asked)
            if name in plane.refused:
                raise GRPCError(Status.FAILED_PRECONDITION, f"{name} is refused")
            implementation = getattr(plane, name, None)
            if implementation is None:
                plane.unknown.append(name)
                raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not implemented")
            await stream.send_message(await implementation(asked))

        return answer

    calls = [name for name in dir(api_grpc.ModalClientBase) if name[0].isupper()]
    members = {name: handler(name) for name in calls}
    return type("Service", (api_grpc.ModalClientBase,), members)()
