"""FastMCP over streamable HTTP with its defaults: sessions, answers as event streams, uvicorn's access log.

    server.py ADDRESS, served at /mcp. The tool answers what our health_check answers.
"""

import sys
import time

from fastmcp import FastMCP
from pydantic import BaseModel

STARTED = time.monotonic()


class Health(BaseModel):
    status: str
    version: str
    uptime_seconds: float
    store: str
    search: str
    embedding: str
    embedding_detail: str


server = FastMCP("rival")


@server.tool
def health_check() -> Health:
    """Check the server's health"""
    return Health(
        status="healthy",
        version="0.1.0",
        uptime_seconds=round(time.monotonic() - STARTED, 3),
        store="sqlite",
        search="lexical",
        embedding="off",
        embedding_detail="it is turned off",
    )


host, port = sys.argv[1].split(":")
server.run("http", host=host, port=int(port))
