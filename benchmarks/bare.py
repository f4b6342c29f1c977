"""A FastAPI app that parses an upload and does nothing else: what a server costs at the least."""

from __future__ import annotations

from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form, UploadFile

app = FastAPI()


@app.post("/v1/audio/transcriptions")
async def transcribe(
    file: UploadFile, model: Annotated[str, Form()], language: Annotated[str, Form()]
) -> dict[str, str | int]:
    return {"text": model, "language": language, "bytes": len(await file.read())}


if __name__ == "__main__":
    uvicorn.run(app, port=0, log_level="info", access_log=False)
