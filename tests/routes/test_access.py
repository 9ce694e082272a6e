"""Whom the routes let in: pages, logins, proxies, and nobody from another site."""

from __future__ import annotations

import pytest
from dragtext.extension.hosts.base import Accounts
from dragtext.extension.queue import Jobs

from .conftest import OTHER, PAGE, edit, refused

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")
routes = pytest.importorskip("dragtext.extension.routes")


def test_the_pages_own_routes_know_only_its_own_jobs(client, host):
    root = "/dragtext/internal"
    for headers in ({}, {"x-dragtext": "short"}, {"x-dragtext": "a" * 31 + "/"}):
        refused(client.get(f"{root}/health", headers=headers), 403, "belong to the page")
        refused(client.post(f"{root}/edits", json=edit(), headers=headers), 403, "belong to the page")
    made = client.post(f"{root}/edits", json=edit(), headers=PAGE).json()
    assert made["state"] == "done"
    assert [job["id"] for job in client.get(f"{root}/edits", headers=PAGE).json()] == [made["id"]]
    assert client.get(f"{root}/edits", headers=OTHER).json() == []
    mine = f"{root}/edits/{made['id']}"
    for method, path in (("GET", ""), ("GET", "/image"), ("POST", "/interrupt"), ("DELETE", ""), ("GET", "/standing")):
        refused(client.request(method, mine + path, headers=OTHER), 404, "of this page")
    assert client.get(f"{mine}/image", headers=PAGE).status_code == 200
    assert "gradio" in client.get(f"{root}/report", headers=PAGE).text
    assert not any(path.startswith(root) for path in client.get("/openapi.json").json()["paths"])


def test_the_page_works_without_the_api(host):
    app = fastapi.FastAPI()
    host.has_public_api, host.known = False, Accounts({"me": "secret"}, {})
    app.tokens = {"good": "me"}
    routes.add_routes(app, Jobs(host))
    with testclient.TestClient(app) as client:
        assert client.get("/dragtext/v1/health").status_code == 404
        refused(client.get("/dragtext/internal/health", headers=PAGE), 401, "login")
        client.cookies.update({"access-token": "good"})
        assert client.get("/dragtext/internal/health", headers=PAGE).status_code == 200
        evil = {**PAGE, "origin": "http://evil.example"}
        refused(client.get("/dragtext/internal/health", headers=evil), 403, "another site")


def test_the_pages_scripts(client):
    for name in ("dragtext_page.mjs", "dragtext_http.mjs", "dragtext_follow.mjs"):
        script = client.get(f"/dragtext/internal/javascript/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "import" in script.text
    for name in ("style.css", "nothing.mjs", "..%2fextension%2fapi.mjs", "%2e%2e"):
        assert client.get(f"/dragtext/internal/javascript/{name}").status_code == 404


@pytest.mark.parametrize(("proxied", "status"), [(True, 200), (False, 403)])
def test_a_proxys_word_counts_where_it_is_configured(client, host, proxied, status):
    host.options["behind_proxy"] = proxied
    headers = {"origin": "https://drag.example", "x-forwarded-host": "drag.example, inner"}
    assert client.get("/dragtext/v1/health", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("accounts", "cookies", "login", "status"),
    [
        (Accounts({}, {}), {}, None, 200),
        (Accounts({"me": "secret"}, {}), {}, None, 401),
        (Accounts({}, {"me": "secret"}), {}, None, 401),
        (Accounts({}, {"me": "secret"}), {}, ("me", "wrong"), 401),
        (Accounts({}, {"me": "secret"}), {}, ("you", "secret"), 401),
        (Accounts({}, {"me": "secret"}), {}, ("me", "secret"), 200),
        (Accounts({"me": "secret"}, {}), {}, ("me", "secret"), 200),
        (Accounts({"me": "secret"}, {}), {"access-token": "good"}, None, 200),
        (Accounts({"me": "secret"}, {}), {"access-token-unsecure-x1": "good"}, None, 200),
        (Accounts({"me": "secret"}, {}), {"access-token": "bad"}, None, 401),
        (Accounts({"me": "secret"}, {}), {"other": "good"}, None, 401),
        (Accounts({}, {"me": "secret"}), {"access-token": "good"}, None, 401),
    ],
)
def test_logins(client, host, accounts, cookies, login, status):
    host.known = accounts
    client.app.tokens = {"good": "me"}
    client.cookies.update(cookies)
    answer = client.get("/dragtext/v1/health", auth=login)
    assert answer.status_code == status
    if status == 401:
        refused(answer, 401, "login")
        assert answer.headers["www-authenticate"] == "Basic"
        refused(client.post("/dragtext/v1/edits", json=edit()), 401, "login")
        assert client.jobs.all() == []


def test_broken_credentials(client, host):
    host.known = Accounts({}, {"me": "secret"})
    for value in ("Basic", "Basic !!!", "Basic bWU=", "Bearer bWU6c2VjcmV0", "Basic /////w=="):
        assert client.get("/dragtext/v1/health", headers={"authorization": value}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"origin": "http://testserver"}, 404),
        ({"sec-fetch-site": "same-origin", "origin": "https://proxy.example"}, 404),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_sites_pages_change_and_read_nothing(client, headers, status):
    assert client.post("/dragtext/v1/edits/nothing/interrupt", headers=headers).status_code == status
    # Neither may they read: some hosts allow every origin.
    assert client.get("/dragtext/v1/health", headers=headers).status_code == (200 if status == 404 else 403)
