"""RTMPS to the very machine that was looked at: a port of this machine that leads there, by TLS.

    python -m recordings.live.tunnel ADDRESS PORT NAME      says its port when the other end is there

FFmpeg would look the name up once more, and nobody has checked where it leads by then (DNS rebinding); given an
address, it would tell the server no name, and it verifies no certificate either way. So it speaks RTMP with this port,
and what goes on from here is Python's TLS: to that address, for that name. A process of its own, since FFmpeg's library
lets no other thread of Python run while it waits for a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys

from recordings.programs import BASE_DIR

PATIENCE = 10.0  # seconds until either end is there
PIECE = 64 * 1024  # bytes

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Tunnel:
    def __init__(self, address: str, port: int, name: str) -> None:
        """Raises OSError, also for a certificate that is not of that name."""
        command = [sys.executable, "-m", "recordings.live.tunnel", address, str(port), name]
        self._process = subprocess.Popen(command, cwd=BASE_DIR, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            self.close()
            raise ConnectionRefusedError("There is no such server by TLS.")
        self.port = int(said)

    def close(self) -> None:
        with self._process:
            self._process.kill()


async def main(address: str, port: int, name: str) -> None:
    """Until one end hangs up. Raises OSError."""
    async with asyncio.timeout(PATIENCE):
        far = await asyncio.open_connection(address, port, ssl=ssl.create_default_context(), server_hostname=name)
    met: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if met.done():  # FFmpeg comes once, and nobody else has business here
            writer.close()
        else:
            met.set_result((reader, writer))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with asyncio.timeout(PATIENCE):
        near = await met
    server.close()
    await asyncio.gather(_pass_on(near[0], far[1]), _pass_on(far[0], near[1]))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    except OSError as error:
        sys.exit(f"the push has no way to {sys.argv[3]}: {error}")
