"""A server that sends whatever a test says, byte for byte, and tells how each connection ended."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Answer = Callable[[bytes], Iterable[bytes]]


class Hostile:
    """Sends what ``answer`` yields for a request, then closes the connection.

    Attributes:
        base: its address.
        requests: the heads and bodies of all requests.
        sent: bytes that were sent on each connection.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.sent: list[int] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._ended = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    async def ended(self, connections: int, timeout: float = 10.0) -> bool:
        """Wait until this many connections have ended; whether they have."""

        def wait() -> bool:
            with self._ended:
                return self._ended.wait_for(lambda: len(self.sent) >= connections, timeout)

        return await asyncio.to_thread(wait)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        sent = 0
        with connection, contextlib.suppress(OSError):
            request = _request(connection)
            self.requests.append(request)
            for piece in self.answer(request):
                connection.sendall(piece)
                sent += len(piece)
        with self._ended:
            self.sent.append(sent)
            self._ended.notify_all()


def _request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def head(kind: str = "application/json", status: int = 200, **more: str) -> bytes:
    """The head of a response that ends with its connection."""
    lines = [f"HTTP/1.1 {status} OK", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def hostile(answer: Answer) -> Iterator[Hostile]:
    """The server, while this context is open."""
    server = Hostile(answer)
    try:
        yield server
    finally:
        server.close()
