"""The page of `dragtext ui`, a browser, and a person in front of it."""

from __future__ import annotations

import pytest

from .person import Person

# A loop from the picture as it is, which takes its time; the model's own settings would begin at the end.
QUICK = {"steps": 6, "inference_steps": 10, "lora_steps": 2, "lora_batch": 1}
LONG = {"steps": 400, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
PULL = (100, 120), (140, 120)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    from .test_standalone import server  # which skips whatever asks for it, where there is no gradio

    settings = ", ".join(f"{name}={value}" for name, value in {"start": "none", **QUICK}.items())
    options = ("--option", "preview_every=2", "--option", f"default_settings={settings}")
    with server(tmp_path_factory.mktemp("page"), *options) as client:
        yield client


@pytest.fixture
def visit(browser, client):
    """Opens the page as somebody with such a browser; at the end nobody may have anything to complain about."""
    people = []

    def enter(query: str = "", quick: bool = False, **more) -> Person:
        wanted = {"viewport": {"width": 1280, "height": 800}, "locale": "en", "accept_downloads": True, **more}
        context = browser.new_context(**wanted)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        if not quick:
            context.add_init_script("localStorage.setItem('dragtext_quick', 'off')")
        people.append(Person(context, f"{client.base_url}{query}"))
        return people[-1]

    yield enter
    for person in people:
        person.page.context.close()
        assert person.faults == []
        assert [url for url in person.asked if not url.startswith((str(client.base_url), "data:", "blob:"))] == []


@pytest.fixture
def person(visit):
    return visit()
