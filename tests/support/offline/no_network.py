"""Refuses every connection that would leave this machine, from the moment it is imported.

Python tells its audit hooks about each connection before it is made, whichever library asks.
(uvloop does not: tests that use it reach 127.0.0.1 by address.)
"""

import ipaddress
import sys

attempts: list[str] = []


def stays_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if not isinstance(name, str) or name in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refuse(event: str, arguments: tuple) -> None:
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]  # (host, port, ...), or the path of a Unix socket
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    if not stays_here(host):
        attempts.append(f"{event}: {host!r}")
        raise RuntimeError(f"a test tried to reach {host!r}; tests use loopback only")


sys.addaudithook(refuse)
