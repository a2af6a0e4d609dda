"""A WebSocket for SDKs that brought none since their second major version: one text message is one JSON-RPC message."""

from contextlib import asynccontextmanager

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from websockets.asyncio.client import connect


@asynccontextmanager
async def websocket_transport(url):
    incoming, read = anyio.create_memory_object_stream(0)
    write, outgoing = anyio.create_memory_object_stream(0)

    async def receive(socket):
        async with incoming:
            async for text in socket:
                await incoming.send(SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False)))

    async def send(socket):
        async with outgoing:
            async for item in outgoing:
                await socket.send(item.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with connect(url, subprotocols=["mcp"], proxy=None) as socket, anyio.create_task_group() as tasks:
        tasks.start_soon(receive, socket)
        tasks.start_soon(send, socket)
        yield read, write
        tasks.cancel_scope.cancel()
