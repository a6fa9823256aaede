"""A server that answers every request with the same bytes, for answers that no vendor would write down."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace


def head(status, headers=(), length=0):
    """The start of an answer."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {length}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(status, body=b"", **headers):
    """A whole answer; underscores in the headers' names are hyphens."""
    fields = {"content_type": "application/json", **headers}
    return head(status, [(name.replace("_", "-"), value) for name, value in fields.items()], len(body)) + body


@asynccontextmanager
async def answering(data):
    """The server: its ``base_url``, and the ``requests`` that it had, header and body."""
    requests = []
    serving = {}

    async def serve(reader, writer):
        serving[asyncio.current_task()] = writer
        try:
            while True:
                start = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                requests.append(start + await reader.readexactly(int(lengths[0].partition(b":")[2])))
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield SimpleNamespace(base_url=f"http://127.0.0.1:{port}", requests=requests)
    finally:
        server.close()
        for writer in serving.values():
            writer.close()
        await asyncio.gather(*serving)
