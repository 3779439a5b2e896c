import socket
import subprocess
import sys

import no_network
import pytest

ELSEWHERE = "192.0.2.1"  # reserved for documentation: no host has it


def test_a_connection_to_another_machine_is_refused_and_remembered():
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.create_connection((ELSEWHERE, 80), timeout=1)
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.getaddrinfo("api.openai.com", 443)
    with socket.socket() as client, pytest.raises(RuntimeError, match="loopback only"):
        client.connect((ELSEWHERE, 80))
    assert len(no_network.attempts) == 3
    no_network.attempts.clear()


def test_a_process_that_a_test_starts_is_held_to_the_same():
    connect = f"import socket; socket.create_connection(({ELSEWHERE!r}, 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", connect], check=False, capture_output=True)
    assert b"loopback only" in child.stderr


def test_connections_on_this_machine_pass():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
