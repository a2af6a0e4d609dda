"""FastMCP's client: `fastmcp_v4.py URL legacy|auto`. It speaks Streamable HTTP by itself; a WebSocket is handed to it."""

from contextlib import asynccontextmanager

import anyio
from checks import main
from fastmcp import Client as FastClient
from fastmcp.client.transports.base import ClientTransport, TransportOptions
from fastmcp.client.transports.http import StreamableHttpTransport
from mcp import MCPError
from ws_transport import websocket_transport


class WebSocketTransport(ClientTransport):
    def __init__(self, url):
        self.url = url

    @asynccontextmanager
    async def connect_session(self, *, transport_options=None, **arguments):
        options = transport_options or TransportOptions()
        async with (
            websocket_transport(self.url) as (read, write),
            options.session_class(read, write, **arguments) as session,
        ):
            yield session


class Client:
    def __init__(self, client):
        self.client = client
        self.version = client.session.protocol_version

    async def tools(self):
        return {tool.name for tool in await self.client.list_tools()}

    async def call(self, tool, arguments, progress=None):
        answer = await self.client.call_tool(tool, arguments, progress_handler=progress, raise_on_error=False)
        return answer.is_error, answer.structured_content

    async def resources(self):
        return [str(resource.uri) for resource in await self.client.list_resources()]

    async def read(self, uri):
        return [str(content.uri) for content in await self.client.read_resource(uri)]

    def code(self, error):
        return error.code if isinstance(error, MCPError) else None

    async def cancel(self, tool, arguments):
        with anyio.move_on_after(0.1) as scope:
            await self.client.call_tool(tool, arguments)
        return scope.cancelled_caught


@asynccontextmanager
async def session(url, era):
    transport = WebSocketTransport(url) if url.startswith("ws") else StreamableHttpTransport(url)
    async with FastClient(transport, mode=era) as client:
        yield Client(client)


main(session)
