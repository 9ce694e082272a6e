"""Who may call the HTTP API. The hosts' own logins protect none of an extension's routes, so we look ourselves."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .hosts.base import Accounts


class RefusedError(Exception):
    """status: 401 or 403; message: one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def check_access(headers: Mapping[str, str], cookies: Mapping[str, str], accounts: Accounts, app: Any) -> None:
    """Raise RefusedError unless the request may pass.

    Where the host was started with a login for its page or its API, one of them is needed: the page's cookie, or HTTP
    basic credentials of either. No request may come from another site's page: not to change anything, and, where a
    host allows other origins to read, not to read the user's pictures.
    app: the gradio app, which knows who is logged in.
    """
    if _from_elsewhere(headers):
        raise RefusedError(403, "This request comes from another site's page; call the API from the WebUI or a script.")
    if not accounts.required or _logged_in(cookies, app, accounts) or _knows_password(headers, accounts):
        return
    raise RefusedError(401, "This WebUI asks for a login; send the name and password of --api-auth or --gradio-auth.")


def _from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Browsers say where a request comes from ("none": typed or a bookmark); scripts send neither header."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    return urlsplit(origin).netloc != headers.get("host")


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
