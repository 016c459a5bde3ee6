"""The listener of the web port, with an application that shows what becomes of a request."""

from __future__ import annotations

import asyncio
import socket

from avatar_creator_server.web.listener import Limits, Listener
from avatar_creator_server.web.messages import Receive, Scope, Send


async def test_a_client_that_goes_away_ends_the_answer_that_it_waits_for() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(answer, [listening], limits=Limits(10, 60.0), headers=[], tls=None)
    await listener.start()
    try:
        _, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await begun.wait()
        writer.close()
        await ended.wait()
    finally:
        await listener.stop(0)
