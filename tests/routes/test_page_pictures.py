"""Pictures over HTTP: what an upload is answered with, views and files, and what is looked for in them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from dragtext.sdk.model import cache
from PIL import Image, PngImagePlugin

from ..helpers import encoded
from ..jobs import picture
from .conftest import MASK, OTHER, PAGE, ROOT, edit, in_base64, refused, upload


def with_text(**texts: str) -> bytes:
    information = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        information.add_itxt(name, text)
    buffer = io.BytesIO()
    picture().save(buffer, "PNG", pnginfo=information)
    return buffer.getvalue()


def test_a_plain_picture_carries_nothing(client):
    found = upload(client, encoded(picture()))
    assert {name: found[name] for name in ("width", "height", "request", "v", "prompt", "note")} == {
        "width": 80,
        "height": 64,
        "request": None,
        "v": None,
        "prompt": "",
        "note": "",
    }


def test_a_result_carries_its_whole_request(client):
    body = edit(mask=in_base64(Image.fromarray(MASK)))
    made = client.post(f"{ROOT}/edits", json=body, headers=PAGE).json()
    file = client.get(f"{ROOT}/edits/{made['id']}/image", headers=PAGE).content
    found = upload(client, file)
    assert found["request"]["drags"] == [[[20, 30], [50, 30]]]
    assert found["request"]["mask"].startswith("data:image/png;base64,")
    assert (found["prompt"], found["v"], found["note"]) == ("a cat", [1, 1], "")
    # What it carries makes the same edit again.
    again = client.post(
        f"{ROOT}/edits", json={**found["request"], "image": body["image"], "wait": True}, headers=PAGE
    ).json()
    repeated = client.get(f"{ROOT}/edits/{again['id']}/image", headers=PAGE).content
    assert np.array_equal(np.array(Image.open(io.BytesIO(repeated))), np.array(Image.open(io.BytesIO(file))))
    # Of another size, nothing of it fits any more, and that is said.
    information = Image.open(io.BytesIO(file)).text
    smaller = PngImagePlugin.PngInfo()
    smaller.add_itxt("dragtext", information["dragtext"])
    buffer = io.BytesIO()
    picture().resize((160, 128)).save(buffer, "PNG", pnginfo=smaller)
    other = upload(client, buffer.getvalue())
    assert other["request"]["mask"] is None
    assert "same size" in other["note"]


def test_a_result_brings_the_picture_back_that_it_was_made_from(client):
    made = client.post(f"{ROOT}/edits", json=edit(), headers=PAGE).json()
    file = client.get(f"{ROOT}/edits/{made['id']}/image", headers=PAGE).content
    began = client.jobs.get(made["id"]).picture
    told = {"id": began.id, "width": 80, "height": 64}
    assert upload(client, file)["original"] == told
    # Also to another page, and after a restart, from the disk.
    client.jobs.pictures._kept.clear()
    assert upload(client, file, OTHER)["original"] == told
    assert client.get(f"{ROOT}/pictures/{began.id}/file", headers=OTHER).content == began.data
    # Not onto a result that was made smaller since, and not once the cache is empty.
    named = PngImagePlugin.PngInfo()
    for name, text in Image.open(io.BytesIO(file)).text.items():
        named.add_itxt(name, text)
    buffer = io.BytesIO()
    picture().resize((100, 80)).save(buffer, "PNG", pnginfo=named)
    assert upload(client, buffer.getvalue())["original"] is None
    client.jobs.pictures._kept.clear()
    cache.clear()
    assert upload(client, file)["original"] is None


@pytest.mark.parametrize("named", ["itself", "", "0" * 40, "../../etc/passwd", "x" * 10_000])
def test_a_picture_may_say_that_it_is_no_result(client, named):
    found = upload(client, with_text(dragtext='{"drags": [[[20, 30], [50, 30]]]}', dragtext_original=named))
    assert found["request"] is not None
    assert found["original"] == (
        {name: found[name] for name in ("id", "width", "height")} if named == "itself" else None
    )


def test_an_infotext_finds_the_mask_that_the_server_knows(client):
    made = client.post(f"{ROOT}/edits", json=edit(mask=in_base64(Image.fromarray(MASK))), headers=PAGE).json()
    infotext = client.jobs.get(made["id"]).infotext
    assert upload(client, with_text(parameters=infotext))["request"]["mask"] is not None
    foreign = upload(client, with_text(parameters=infotext), OTHER)
    assert foreign["request"]["mask"] is None
    assert "mask is not in" in foreign["note"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_prompt_of_a_hosts_picture(client, kind):
    infotext = "a fox in snow,\nvery cold\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1"
    if kind == "PNG":
        data = with_text(parameters=infotext)
    else:
        comment = b"UNICODE\0" + infotext.encode("utf-16-be")
        # As hosts write it: a list of one entry that points to a list of one entry, the comment.
        exif = b"Exif\0\0MM\0*" + struct.pack(">LHHHLLL", 8, 1, 0x8769, 4, 1, 26, 0)
        exif += struct.pack(">HHHLLL", 1, 0x9286, 7, len(comment), 44, 0) + comment
        buffer = io.BytesIO()
        picture().save(buffer, kind, exif=exif)
        data = buffer.getvalue()
    found = upload(client, data)
    assert (found["request"], found["prompt"]) == (None, "a fox in snow,\nvery cold")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"dragtext": "{"}, "not valid JSON"),
        ({"dragtext": "[" * 10_000}, "nested too deeply"),
        ({"dragtext": '{"drags": [[[1, 2], [500, 2]]]}'}, "outside the image"),
        ({"dragtext": '{"drags": [[[20, 30], [50, 30]]], "mask": "/etc/passwd"}'}, "file of its own"),
        ({"dragtext": '{"drags": [[[20, 30], [50, 30]]]}', "dragtext_v": "much"}, "no number"),
    ],
)
def test_what_cannot_be_used_is_said_and_the_picture_taken(client, texts, words):
    found = upload(client, with_text(**texts))
    assert words in found["note"]
    assert not (found["request"] or {}).get("mask")


def test_views_and_files(client):
    photo = encoded(picture().resize((400, 320)), "JPEG")
    clear = picture().convert("RGBA")
    clear.putalpha(Image.fromarray(MASK))
    for data, media, ending in ((photo, "image/jpeg", "jpg"), (encoded(clear), "image/png", "png")):
        known = f"{ROOT}/pictures/{upload(client, data)['id']}"
        view = client.get(f"{known}/view", params={"side": "64"}, headers=PAGE)
        shown = Image.open(io.BytesIO(view.content))
        assert (view.headers["content-type"], max(shown.size)) == (media, 64)
        assert ("A" in shown.getbands()) == (ending == "png")
        file = client.get(f"{known}/file", headers=PAGE)
        assert (file.content, file.headers["content-type"]) == (data, media)
        assert file.headers["x-content-type-options"] == "nosniff"
        assert file.headers["content-disposition"].endswith(f'.{ending}"')
        for side in ("0", "63", "99999", "x", "-5", "²"):
            refused(client.get(f"{known}/view", params={"side": side}, headers=PAGE), 422, "whole number")
        refused(client.get(f"{known}/file"), 403, "belong to the page")
    refused(client.get(f"{ROOT}/pictures/unknown/view", headers=PAGE), 404, "upload it again")
    refused(client.get(f"{ROOT}/pictures/unknown/file", headers=PAGE), 404, "upload it again")
