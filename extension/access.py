"""Who may call the HTTP API. The hosts' own logins protect none of an extension's routes, so we look ourselves."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .hosts.base import Accounts


class RefusedError(Exception):
    """status: 401 or 403; message: one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


PAGE_HEADER = "x-dragtext"
PAGE = r"[A-Za-z0-9]{16,64}"


def check_access(
    headers: Mapping[str, str], cookies: Mapping[str, str], accounts: Accounts, app: Any, *, proxied: bool = False
) -> None:
    """Raise RefusedError unless the request may pass.

    Where the host was started with a login for its page or its API, one of them is needed: the page's cookie, or HTTP
    basic credentials of either. No request may come from another site's page: not to change anything, and, where a
    host allows other origins to read, not to read the user's pictures.
    app: the gradio app, which knows who is logged in. proxied: a proxy stands before it and says in X-Forwarded-Host
    what the browser asked for; from anybody else this header means nothing.
    """
    if _from_elsewhere(headers, proxied):
        raise RefusedError(403, "This request comes from another site's page; call the API from the WebUI or a script.")
    if not accounts.required or _logged_in(cookies, app, accounts) or _knows_password(headers, accounts):
        return
    raise RefusedError(401, "This WebUI asks for a login; send the name and password of --api-auth or --gradio-auth.")


def page_of(headers: Mapping[str, str]) -> str:
    """Which page asks: the id that our page's script made up. Raises RefusedError for anything else.

    No other site's page can send this header without the server's leave, whatever the browser says of origins.
    """
    page = headers.get(PAGE_HEADER, "")
    if not re.fullmatch(PAGE, page):
        raise RefusedError(403, "These routes belong to the page; scripts use /dragtext/v1, which --api turns on.")
    return page


def forwarded_host(headers: Mapping[str, str]) -> str:
    """What a proxy says that the browser asked for: of several, the one that was asked first; "" without one."""
    return headers.get("x-forwarded-host", "").partition(",")[0].strip()


def _from_elsewhere(headers: Mapping[str, str], proxied: bool) -> bool:
    """Browsers say where a request comes from ("none": typed or a bookmark); scripts send neither header."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    hosts = [headers.get("host")]
    if proxied:
        hosts.append(forwarded_host(headers) or None)
    return urlsplit(origin).netloc not in hosts


def _logged_in(cookies: Mapping[str, str], app: Any, accounts: Accounts) -> bool:
    """gradio 3 calls its cookies access-token and access-token-unsecure, gradio 4 appends an id of the app."""
    if not accounts.page:
        return False
    tokens = getattr(app, "tokens", None) or {}
    return any(name.startswith("access-token") and value in tokens for name, value in cookies.items())


def _knows_password(headers: Mapping[str, str], accounts: Accounts) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        name, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return False
    if not colon:
        return False
    # Every account is compared, in constant time each, so that the time tells nothing.
    matches = [
        hmac.compare_digest(name.encode(), known.encode()) & hmac.compare_digest(password.encode(), secret.encode())
        for known, secret in [*accounts.page.items(), *accounts.api.items()]
    ]
    return any(matches)
