"""Pictures as people have them: colour profiles, depths, transparency, frames, formats; and what is written back."""

from __future__ import annotations

import io
import logging
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.picture.composing import compose
from dragtext.sdk.picture.drawing import save_sweep
from dragtext.sdk.picture.files import save_image
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.picture.reading import PICTURE_FORMATS, LoadedImage, load_image, open_picture
from PIL import Image, ImageCms

from .helpers import encoded

FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 0, "inference_steps": 4}
DRAG = [((20, 30), (50, 40))]
SMOOTH = np.dstack(np.meshgrid(np.linspace(20, 230, 96), np.linspace(60, 200, 80))).astype(np.uint8)
SMOOTH = np.dstack([SMOOTH, np.full((80, 96), 90, np.uint8)])


def s15(value):
    return struct.pack(">i", round(value * 65536))


def wide_profile(space=b"RGB ", gamma=2.2):
    """A small ICC profile with colorants outside sRGB, or of gray."""
    header_text = b"desc\0\0\0\0\0\0\0\x05Wide\0" + bytes(79)
    curve = b"curv\0\0\0\0\0\0\0\x01" + struct.pack(">H", round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + s15(0.9642) + s15(1.0) + s15(0.8249)
    tags = {b"desc": header_text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": white}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        columns = {b"r": (0.6097, 0.3111, 0.0195), b"g": (0.2053, 0.6257, 0.0609), b"b": (0.1492, 0.0632, 0.7446)}
        for name, xyz in columns.items():
            tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(s15(v) for v in xyz)
            tags[name + b"TRC"] = curve
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4s4s4s4s4s", 128 + len(body), bytes(4), b"\x02\x10\0\0", b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + s15(0.9642) + s15(1.0) + s15(0.8249)
    return header.ljust(128, b"\0") + body


WIDE = wide_profile()


def in_srgb(picture):
    profile = picture.info.get("icc_profile")
    picture = picture.convert("RGB")
    if profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        picture = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"))
    return np.array(picture).astype(int)


def compose_untouched(loaded, mask=None):
    """What comes out if the model gives back exactly what it saw."""
    frame = Frame.of(*loaded.rgb.shape[:2])
    return compose(frame.image_to_model(loaded.visible) / 2 + 0.5, frame, loaded, mask)


# Colour --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_work_is_in_srgb_and_the_profile_goes_back(kind, tmp_path):
    data = encoded(Image.fromarray(SMOOTH), kind, icc_profile=WIDE)
    loaded = load_image(data)
    assert loaded.profile == WIDE
    assert np.array_equal(loaded.numbers, np.array(Image.open(io.BytesIO(data)).convert("RGB")))
    seen = in_srgb(Image.open(io.BytesIO(data)))
    assert np.abs(loaded.rgb - seen).max() <= 1
    assert np.abs(loaded.rgb.astype(int) - loaded.numbers).max() > 20
    for suffix in (".png", ".jpg", ".webp"):
        path = save_image(compose_untouched(loaded), tmp_path / f"out{suffix}")
        again = Image.open(path)
        assert again.info["icc_profile"] == WIDE
        # Colours outside sRGB come back at its edge, so the comparison is of what lies within.
        inside = ((seen > 8) & (seen < 247)).all(axis=2)
        assert np.abs(in_srgb(again) - seen)[inside].mean() < 4


@pytest.mark.parametrize("options", [{}, {"crop": "auto"}, {"resolution": 64}])
def test_bytes_outside_the_mask_keep_the_profiles_own_numbers(options, model, tmp_path):
    mask = np.zeros((80, 96), bool)
    mask[20:50, 10:60] = True
    away = ~cv2.dilate(mask.astype(np.uint8), np.ones((21, 21), np.uint8)).astype(bool)
    data = encoded(Image.fromarray(SMOOTH), icc_profile=WIDE)
    result = sdk.Editor(model, data).drag(DRAG, mask=mask, **FAST, **options)
    again = sdk.open_result(result.save_state(tmp_path / "s.safetensors"), model).at(1)
    for picture in (result.image, again, Image.open(result.save(tmp_path / "o.png"))):
        assert picture.info["icc_profile"] == WIDE
        assert np.array_equal(np.array(picture)[away], SMOOTH[away])
    assert np.array_equal(np.array(again), np.array(result.image))


def test_an_srgb_profile_changes_no_number():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = load_image(encoded(Image.fromarray(SMOOTH), icc_profile=profile))
    assert loaded.own is None
    assert np.array_equal(loaded.rgb, SMOOTH)
    assert compose_untouched(loaded).info["icc_profile"] == profile


def test_gray_profiles_become_srgb_and_say_so():
    gray = Image.fromarray(SMOOTH[..., 0])
    loaded = load_image(encoded(gray, icc_profile=wide_profile(b"GRAY", 1.0)))
    assert loaded.profile is None
    assert loaded.rgb.mean() > SMOOTH[..., 0].mean() + 20  # a linear gray is brighter than its numbers
    assert "gray profile" in loaded.notes[0]
    assert np.array_equal(load_image(encoded(gray, icc_profile=WIDE)).numbers, np.array(gray.convert("RGB")))


def test_cmyk_says_what_became_of_it():
    loaded = load_image(encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"))
    assert "CMYK" in loaded.notes[0]
    assert loaded.profile is None


@pytest.mark.parametrize("profile", [b"junk" * 50, WIDE[:200], wide_profile(b"GRAY")])
def test_a_profile_that_cannot_be_used_is_a_sentence(profile, caplog):
    loaded = load_image(encoded(Image.fromarray(SMOOTH), icc_profile=profile))
    assert np.array_equal(loaded.rgb, SMOOTH)
    assert "colour profile cannot be used" in loaded.notes[0]
    assert loaded.notes[0] in caplog.text
    assert loaded.profile is None


def test_pillow_without_colour_management_is_a_sentence(monkeypatch):
    def missing(*_):
        raise ImportError("no littlecms")

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", missing)
    assert "no littlecms" in load_image(encoded(Image.fromarray(SMOOTH), icc_profile=WIDE)).notes[0]


def test_alpha_and_a_profile_go_together(tmp_path):
    alpha = np.tile(np.linspace(30, 255, 96), (80, 1)).astype(np.uint8)
    loaded = load_image(encoded(Image.fromarray(np.dstack([SMOOTH, alpha])), icc_profile=WIDE))
    assert loaded.profile == WIDE
    assert np.array_equal(loaded.alpha, alpha)
    assert compose_untouched(loaded).mode == "RGBA"


def test_a_sweep_is_drawn_in_srgb(tmp_path):
    loaded = load_image(encoded(Image.fromarray(SMOOTH), icc_profile=WIDE))
    strip, _ = save_sweep(tmp_path / "s.png", [compose_untouched(loaded)] * 2, ["a", "b"])
    drawn = np.array(Image.open(strip).convert("RGB"))[-80:, :96].astype(int)
    assert np.abs(drawn - loaded.rgb).mean() < 4


# Depth ---------------------------------------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 80 * 96).reshape(80, 96)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour_type, rows, *chunks):
    """A PNG by hand, for what Pillow does not write."""
    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in rows)
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


DEEP = {
    "16-bit gray": lambda: png(16, 0, (RAMP * 65535)),
    "16-bit gray with a transparent value": lambda: png(16, 0, RAMP * 65535, chunk(b"tRNS", struct.pack(">H", 0))),
    "16-bit gray and alpha": lambda: png(16, 4, np.dstack([RAMP * 65535, RAMP * 0 + 65535]).reshape(80, -1, 2)),
    "16-bit RGB": lambda: png(16, 2, np.repeat((RAMP * 65535)[..., None], 3, axis=2)),
    "16-bit TIFF": lambda: encoded(Image.fromarray((RAMP * 65535).astype(np.uint16)), "TIFF"),
    "float TIFF to 1": lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "float TIFF to 255": lambda: encoded(Image.fromarray((RAMP * 255).astype(np.float32)), "TIFF"),
    "float TIFF to 65535": lambda: encoded(Image.fromarray((RAMP * 65535).astype(np.float32)), "TIFF"),
    "32-bit TIFF to 255": lambda: encoded(Image.fromarray((RAMP * 255).astype(np.int32)), "TIFF"),
    "32-bit TIFF to 65535": lambda: encoded(Image.fromarray((RAMP * 65535).astype(np.int32)), "TIFF"),
    "32-bit TIFF": lambda: encoded(Image.fromarray((RAMP * (2**31 - 1)).astype(np.int32)), "TIFF"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_every_depth_is_the_same_ramp(kind):
    loaded = load_image(DEEP[kind]())
    assert np.abs(loaded.rgb[..., 0] - RAMP * 255).max() <= 2


def test_a_transparent_16_bit_value_is_transparent_and_nothing_else():
    loaded = load_image(DEEP["16-bit gray with a transparent value"]())
    assert np.array_equal(loaded.alpha == 0, np.floor(RAMP * 65535) == 0)


def test_a_dark_16_bit_png_stays_dark():
    assert load_image(png(16, 0, RAMP * 200)).rgb.max() == 0


def test_brighter_than_white_floats_say_so():
    loaded = load_image(encoded(Image.fromarray((RAMP * 1.5).astype(np.float32)), "TIFF"))
    assert loaded.rgb.max() == 255
    assert np.abs(loaded.rgb[..., 0] - np.minimum(RAMP * 1.5, 1) * 255).max() <= 1
    assert "above 1" in loaded.notes[0]


def test_floats_that_are_none():
    holes = RAMP.astype(np.float32)
    holes[3, 4], holes[5, 6] = np.nan, np.inf
    assert load_image(encoded(Image.fromarray(holes), "TIFF")).rgb[40, 40, 0] > 100


# Transparency --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_is_no_transparency(mode, tmp_path, model):
    picture = Image.fromarray(SMOOTH).convert(mode)
    assert load_image(encoded(picture)).alpha is None
    result = sdk.Editor(model, picture).drag(DRAG, **FAST)
    result.save(tmp_path / "o.jpg")
    save_image(Image.fromarray(SMOOTH).convert("RGBA"), tmp_path / "p.jpg")
    with pytest.raises(sdk.InputError, match="transparency"):
        save_image(Image.new("RGBA", (64, 64)), tmp_path / "q.jpg")


def disc(centre=(32, 40), radius=14.5, ground=(255, 0, 255), colour=(30, 60, 160)):
    """A disc on nothing, with strange colours where nothing is to be seen."""
    rows, cols = np.mgrid[:80, :96]
    alpha = np.clip((radius + 0.5 - np.hypot(cols - centre[0], rows - centre[1])) * 255, 0, 255).astype(np.uint8)
    colours = np.where((alpha > 0)[..., None], colour, ground)
    return np.dstack([colours, alpha]).astype(np.uint8)


def test_hidden_colours_never_reach_the_model():
    loud, quiet = load_image(disc(ground=(255, 0, 255))), load_image(disc(ground=(0, 0, 0)))
    assert np.array_equal(loud.visible, quiet.visible)
    veil = np.full((80, 96), 200, np.uint8)
    veil[:, :5] = 0  # too little for a cut-out
    colours = SMOOTH.copy()
    colours[:, :5] = (255, 0, 255)
    loaded = load_image(np.dstack([colours, veil]))
    assert loaded.backdrop is None
    assert np.array_equal(loaded.visible[:, 0], loaded.visible[:, 5])
    assert np.array_equal(loaded.visible[:, 5:], colours[:, 5:])


@pytest.mark.parametrize("colour", [(30, 60, 160), (250, 250, 250), (5, 5, 5), (128, 128, 128)])
def test_the_backdrop_is_no_colour_of_the_subject(colour):
    loaded = load_image(disc(colour=colour))
    assert np.abs(np.array(loaded.backdrop) - colour).max() >= 90


def test_a_cut_out_comes_back_as_it_was_where_nothing_changed():
    for colour in ((30, 60, 160), (250, 250, 250)):
        picture = disc(colour=colour)
        untouched = np.array(compose_untouched(load_image(picture)))
        assert np.abs(untouched[..., 3].astype(int) - picture[..., 3]).max() <= 1
        solid = picture[..., 3] > 200
        assert np.abs(untouched[solid].astype(int) - picture[solid]).max() <= 3


@pytest.mark.parametrize("colour", [(30, 60, 160), (250, 250, 250), (120, 120, 120)])
@pytest.mark.parametrize("masked", [True, False])
def test_a_dragged_cut_out_takes_its_transparency_along(colour, masked):
    """A model that moves the disc by 30 px and is a little wrong everywhere."""
    before, after = load_image(disc((28, 40), colour=colour)), load_image(disc((58, 40), colour=colour))
    noise = np.random.default_rng(0).normal(0, 4, after.visible.shape)
    moved = np.clip(after.visible + noise, 0, 255).astype(np.float32) / 255
    mask = None
    if masked:
        mask = np.zeros((80, 96), bool)
        mask[15:66, 8:80] = True
    image = torch.from_numpy(moved).permute(2, 0, 1)[None]
    result = np.array(compose(image, Frame.of(80, 96), before, mask))
    wanted = disc((58, 40), colour=colour)
    assert np.abs(result[..., 3].astype(int) - wanted[..., 3]).mean() < 4
    inside = cv2.erode(wanted[..., 3], np.ones((7, 7), np.uint8)) == 255
    assert (result[inside][:, 3] == 255).all()
    assert np.abs(result[inside][:, :3].astype(int) - colour).mean() < 8
    far = np.hypot(*(np.mgrid[:80, :96] - np.array([40, 58])[:, None, None])) > 22
    assert result[far][:, 3].max() < 60
    if masked:
        assert np.array_equal(result[:8], disc((28, 40), colour=colour)[:8])


def test_a_shine_through_alpha_stays_where_it_is(model):
    """Alpha that cuts nothing out is no shape to be moved."""
    alpha = np.tile(np.linspace(0, 255, 96), (80, 1)).astype(np.uint8)
    result = sdk.Editor(model, np.dstack([SMOOTH, alpha])).drag(DRAG, **FAST)
    assert np.array_equal(np.array(result.image)[..., 3], alpha)


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_further_frames_get_a_sentence(kind, caplog):
    frames = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert "only the first one" in load_image(animated).notes[0]
    assert "only the first one" in caplog.text
    assert not load_image(encoded(frames[0], kind)).notes


def test_previews_inside_a_photo_are_no_frames():
    frames = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    assert not load_image(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])).notes


def test_pictures_outside_the_list_never_reach_their_decoder(monkeypatch):
    opened = []
    Image.init()
    for kind, (factory, accept) in list(Image.OPEN.items()):
        if kind not in PICTURE_FORMATS:
            watched = lambda *a, kind=kind, factory=factory, **k: (opened.append(kind), factory(*a, **k))[1]  # noqa: E731
            monkeypatch.setitem(Image.OPEN, kind, (watched, accept))
    for kind in ("EPS", "PCX", "TGA", "SGI", "ICO"):
        data = encoded(Image.fromarray(SMOOTH), kind)
        for what in ("image", "mask"):
            with pytest.raises(sdk.InputError, match="PNG, JPEG, WebP or TIFF"):
                open_picture(data, what)
    assert not opened


@pytest.mark.parametrize(
    ("start", "expected"),
    [(b"%!PS-Adobe", "PostScript"), (b"8BPS", "Photoshop"), (b"%PDF-1.7", "PDF"), (b"<svg", "SVG")],
)
def test_what_cannot_be_read_is_named(start, expected, tmp_path):
    (tmp_path / "picture.png").write_bytes(start + bytes(200))
    for source in (tmp_path / "picture.png", start + bytes(200)):
        with pytest.raises(sdk.InputError, match=expected):
            load_image(source)


def test_a_loaded_image_is_opened_once(model, caplog):
    loaded = load_image(encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG"))
    assert isinstance(loaded, LoadedImage)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        result = sdk.Editor(model, loaded).drag(DRAG, **FAST)
    assert not caplog.text
    assert result.notes == loaded.notes


def test_the_fingerprint_knows_colours_alpha_and_profile():
    pictures = [
        encoded(Image.fromarray(SMOOTH)),
        encoded(Image.fromarray(SMOOTH), icc_profile=WIDE),
        encoded(Image.fromarray(255 - SMOOTH)),
        encoded(Image.fromarray(np.dstack([SMOOTH, SMOOTH[..., 0]]))),
    ]
    assert len({load_image(data).fingerprint for data in pictures}) == len(pictures)
