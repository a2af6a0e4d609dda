"""The official Python SDK of the second major version: `python_v2.py URL legacy|auto`.

It speaks Streamable HTTP by itself; a WebSocket is handed to it.
"""

from contextlib import asynccontextmanager

import anyio
import mcp
from checks import main
from ws_transport import websocket_transport


class Client:
    def __init__(self, client):
        self.client = client
        self.version = client.protocol_version

    async def tools(self):
        return {tool.name for tool in (await self.client.list_tools()).tools}

    async def call(self, tool, arguments, progress=None):
        answer = await self.client.call_tool(tool, arguments, progress_callback=progress)
        return answer.is_error, answer.structured_content

    async def resources(self):
        return [str(resource.uri) for resource in (await self.client.list_resources()).resources]

    async def read(self, uri):
        return [str(content.uri) for content in (await self.client.read_resource(uri)).contents]

    def code(self, error):
        return error.code if isinstance(error, mcp.MCPError) else None

    async def cancel(self, tool, arguments):
        with anyio.move_on_after(0.1) as scope:
            await self.client.call_tool(tool, arguments)
        return scope.cancelled_caught


@asynccontextmanager
async def session(url, era):
    async with mcp.Client(websocket_transport(url) if url.startswith("ws") else url, mode=era) as client:
        yield Client(client)


main(session)
