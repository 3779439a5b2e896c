"""A provider behind TLS with a certificate of a private authority, and a proxy that leads to it."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wire import ANSWER


class CountingServer(ThreadingHTTPServer):
    """A server that counts the connections that it has accepted, and those that it has ended."""

    daemon_threads = True
    accepted = ended = 0
    hangs_up = False
    """Whether it ends each connection after one answer, without announcing it."""

    def get_request(self) -> Any:
        request = super().get_request()
        self.accepted += 1
        return request

    def handle_error(self, *_: Any) -> None:
        """Ignore a client that hangs up."""

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.ended += 1


class Provider(BaseHTTPRequestHandler):
    """Gives every request the same answer."""

    server: CountingServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hangs_up

    def log_message(self, *_: object) -> None:
        pass


class Tunnel(BaseHTTPRequestHandler):
    """A proxy for HTTPS: it connects the client to the address that it names."""

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(there, self.connection))
            back.start()
            _copy(self.connection, there)
            back.join()

    def log_message(self, *_: object) -> None:
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either side may hang up
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def served(handler: Any, certificate: Path | None = None) -> Iterator[CountingServer]:
    """Serve requests until the end of the block, over TLS if a certificate (with its key) is given."""
    server = CountingServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def private_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, in one file with its key."""
    file = folder / "private.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(file)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / "key.pem").read_text())
    return file
