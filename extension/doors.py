"""What stands before the standalone server: whom it answers, which files it hands out, and what a page may load.

Plain ASGI, so that it is there from the first request on, for pages, routes and websockets alike.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .access import forwarded_host

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# gradio's page asks for fonts and a script from elsewhere, which nothing here needs and which tell others who is here.
ELSEWHERE = re.compile(rb"<link[^>]*href=\"https?://[^>]*>|<script[^>]*src=\"https?://[^>]*>\s*</script>")
# Inline scripts and eval are how gradio works; data and blob addresses are its pictures.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'self'; form-action 'self'"
)


def allowed_names(address: str, more: Iterable[str] = ()) -> frozenset[str]:
    """By which names this server may be asked for, apart from plain addresses. address: what it listens on."""
    own = {"localhost", address.lower().strip("[]"), *(name.lower() for name in more)}
    if _is_any(address):
        own |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
    return frozenset(own)


class Doors:
    """names: by which a browser may ask where there is no login (None: any name); files: the only folder that gradio's
    file route may read; proxied: a proxy says in X-Forwarded-Host what the browser asked for."""

    def __init__(self, app: Any, *, names: frozenset[str] | None, files: Path, proxied: bool = False) -> None:
        self.app, self.names, self.files, self.proxied = app, names, files.resolve(), proxied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._asked_for_us(headers):
            await _refuse(scope, send, "This name is not one of this server's; add it with --allow-host NAME.")
        elif not self._may_read(scope["path"]):
            await _refuse(scope, send, "This file is not for the page.")
        elif scope["type"] == "http":
            await self.app(scope, receive, _Tidy(send))
        else:
            await self.app(scope, receive, send)

    def _asked_for_us(self, headers: dict[str, str]) -> bool:
        """Another site's name can be made to point here (DNS rebinding), and its page would then be let in. A plain
        address cannot."""
        if self.names is None:
            return True
        host = headers.get("host", "")
        if self.proxied:
            host = forwarded_host(headers) or host
        name = host.lower().rpartition(":")[0] if re.search(r":\d+$", host) else host.lower()
        return name.strip("[]") in self.names or _is_address(name.strip("[]"))

    def _may_read(self, path: str) -> bool:
        """gradio 3 would hand out the folder that the program was started in."""
        match = re.match(r"/file[=/](.*)", path, re.DOTALL)
        if match is None:
            return True
        asked = Path(unquote(match[1])).resolve() if "\0" not in match[1] else Path("/")
        return asked.is_relative_to(self.files)


class _Tidy:
    """Sends an answer on with our policy, a page also without what it would load from elsewhere."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: MutableMapping[str, Any] | None = None
        self.parts: list[bytes] = []

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [(name, value) for name, value in message["headers"]]
            headers.append((b"content-security-policy", POLICY.encode()))
            headers.append((b"referrer-policy", b"same-origin"))
            message = {**message, "headers": headers}
            kind = dict(headers).get(b"content-type", b"")
            if kind.startswith(b"text/html"):
                self.start = message
                return
        elif self.start is not None:
            self.parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            page = ELSEWHERE.sub(b"", b"".join(self.parts))
            headers = [(name, value) for name, value in self.start["headers"] if name.lower() != b"content-length"]
            await self.send({**self.start, "headers": [*headers, (b"content-length", str(len(page)).encode())]})
            self.start = None
            message = {"type": "http.response.body", "body": page}
        await self.send(message)


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_any(address: str) -> bool:
    """Listening on every address of the machine."""
    return _is_address(address) and ipaddress.ip_address(address).is_unspecified


def is_local(address: str) -> bool:
    """Whether only this machine can reach what listens on an address."""
    return address == "localhost" or (_is_address(address) and ipaddress.ip_address(address).is_loopback)
