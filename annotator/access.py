"""Who may ask the server for what: hosts, the token, links of annotators, sizes of requests."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.store import Annotator, Store

LINK_COOKIE, TOKEN_COOKIE = "desra_annotator", "desra_token"
OPEN_PATHS = ("/a/", "/page.", "/robots.txt")
"""Reached without the token: an annotator's link, which is a secret itself, and the page's code."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


def is_local(host: str) -> bool:
    """Whether only this machine reaches what is bound to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_token() -> str:
    """What opens a server that other machines can reach."""
    return secrets.token_urlsafe(16)


class Guard:
    """Lets a request pass if it may.

    - The Host header must name this server, so that no page from elsewhere reaches it by a name of
      its own (DNS rebinding); a changing request must come from a page of this server.
    - Where there is a token, a request needs it (``?token=`` once, then a cookie) or the cookie of
      an annotator's link.
    - No body is larger than ``largest_body`` bytes.

    Args:
        app: what answers.
        store: knows the links.
        hosts: names, without ports, that requests may name.
        token: None where only this machine reaches the server.
        largest_body: in bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Store,
        hosts: Iterable[str],
        token: str | None = None,
        largest_body: int = 2**24,
    ) -> None:
        self.app, self.store, self.token, self.largest_body = app, store, token, largest_body
        self.hosts = {host.lower().strip("[]") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _say(send, *refusal)
            return
        set_token = self._given_token(scope)
        read, started = 0, False

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.largest_body:
                raise HTTPException(413, f"more than {self.largest_body} bytes")
            return message

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and not started:
                started = True
                own = {name for name, _ in message.get("headers", [])}
                extra = [(name, value) for name, value in _HEADERS if name not in own]
                if set_token is not None:
                    extra.append((b"set-cookie", _cookie(TOKEN_COOKIE, set_token).encode()))
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self.app(scope, limited, sending)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _host_name(headers.get("host", ""))
        if host not in self.hosts:
            return 421, f"This server does not go by the name {host or 'that was asked for'}."
        origin = headers.get("origin")
        changes = scope["method"] not in ("GET", "HEAD")
        if changes and origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return 403, "This request comes from another page."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.largest_body:
            return 413, f"More than {self.largest_body} bytes."
        if self.token is None or scope["path"].startswith(OPEN_PATHS):
            return None
        cookies = read_cookies(headers.get("cookie", ""))
        given = cookies.get(TOKEN_COOKIE) or self._given_token(scope)
        if given is not None and hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        if self.store.annotator_of(cookies.get(LINK_COOKIE, "")) is not None:
            return None
        return 403, "Open the address with the token that the server printed when it was started."

    def _given_token(self, scope: Scope) -> str | None:
        if self.token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
        known = given is not None and hmac.compare_digest(given.encode(), self.token.encode())
        return given if known else None


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a request."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _cookie(name: str, value: str) -> str:
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"


def link_cookie(annotator: Annotator) -> str:
    """The header that lets a browser be this annotator from now on."""
    # Lax: an address that was sent by mail is opened from elsewhere.
    return _cookie(LINK_COOKIE, annotator.link).replace("Strict", "Lax")


def who(request: Request) -> Annotator:
    """The annotator that a request comes from.

    Raises:
        HTTPException: 401, none has given a name yet.
    """
    store: Store = request.app.state.store
    annotator = store.annotator_of(request.cookies.get(LINK_COOKIE, ""))
    if annotator is None:
        raise HTTPException(401, "Who are you? Open your link, or give a name.")
    return annotator


Who = Annotated[Annotator, Depends(who)]
"""The annotator of a request, as an argument of a route."""


def may_manage(request: Request) -> bool:
    """Whether a request comes from who started the server: by the token, or from this machine."""
    token: str | None = request.app.state.token
    if token is None:
        return True
    given = request.cookies.get(TOKEN_COOKIE) or request.query_params.get("token") or ""
    return hmac.compare_digest(given.encode(), token.encode())


def manager(request: Request) -> None:
    """Let only those pass who `may_manage`.

    Raises:
        HTTPException: 403.
    """
    if not may_manage(request):
        raise HTTPException(403, "Only who started the server sees this.")


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


async def _say(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
