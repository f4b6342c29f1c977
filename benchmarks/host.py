"""An audio host on this machine, as fast as it can or at a pace."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

_PIECE = 8192  # bytes


@contextmanager
def serving(folder: Path, bytes_per_second: float = float("inf")) -> Iterator[str]:
    """The files of ``folder`` by HTTP, under this URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]  # the stubs want a writer of any kind
            if bytes_per_second == float("inf"):
                shutil.copyfileobj(source, outputfile)
                return
            began, sent = time.monotonic(), 0
            while data := source.read(_PIECE):
                outputfile.write(data)
                sent += len(data)
                time.sleep(max(0.0, began + sent / bytes_per_second - time.monotonic()))

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # whoever asked has heard enough

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()
