"""The official Python SDK of the first major version, over both of its transports: `python_v1.py URL legacy`."""

from contextlib import asynccontextmanager

import anyio
from checks import main
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client
from mcp.client.websocket import websocket_client


class Client:
    def __init__(self, session, version):
        self.session = session
        self.version = version

    async def tools(self):
        return {tool.name for tool in (await self.session.list_tools()).tools}

    async def call(self, tool, arguments, progress=None):
        answer = await self.session.call_tool(tool, arguments, progress_callback=progress)
        return bool(answer.isError), answer.structuredContent

    async def resources(self):
        return [str(resource.uri) for resource in (await self.session.list_resources()).resources]

    async def read(self, uri):
        return [str(content.uri) for content in (await self.session.read_resource(uri)).contents]

    def code(self, error):
        return error.error.code if isinstance(error, McpError) else None

    async def cancel(self, tool, arguments):
        """This SDK abandons a call silently: to say so is left to its user, who has to look up the id."""
        number = self.session._request_id
        with anyio.move_on_after(0.1) as scope:
            await self.session.call_tool(tool, arguments)
        params = types.CancelledNotificationParams(requestId=number, reason="enough")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        return scope.cancelled_caught


@asynccontextmanager
async def session(url, era):
    transport = websocket_client(url) if url.startswith("ws") else streamable_http_client(url)
    async with transport as (read, write, *_), ClientSession(read, write) as opened:
        yield Client(opened, (await opened.initialize()).protocolVersion)


main(session)
