"""Pictures in and out: every form and mode, masks, safe writing, and the request inside a PNG."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.files import METADATA_KEY, check_output, save_image, write_atomically
from dragtext.sdk.picture.masks import load_mask, mask_to_uri
from dragtext.sdk.picture.reading import MAX_PIXELS, load_image, to_pil
from dragtext.sdk.picture.requests import read_request
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import Settings
from PIL import Image, PngImagePlugin

from .helpers import encoded, noise

HEIGHT, WIDTH = 70, 93


@pytest.fixture
def rgb():
    return noise(HEIGHT, WIDTH)


def test_path_picture_array_and_bytes_are_the_same(rgb, tmp_path):
    picture = Image.fromarray(rgb)
    picture.save(tmp_path / "in.png")
    for source in (tmp_path / "in.png", str(tmp_path / "in.png"), picture, rgb, encoded(picture)):
        loaded = load_image(source)
        assert np.array_equal(loaded.rgb, rgb)
        assert loaded.alpha is None


def test_alpha_is_kept(rgb, tmp_path):
    alpha = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8)
    both = np.dstack([rgb, alpha])
    loaded = load_image(both)
    assert np.array_equal(loaded.rgb, rgb)
    assert np.array_equal(loaded.alpha, alpha)
    save_image(to_pil(loaded.rgb, loaded.alpha), tmp_path / "out.png")
    again = load_image(tmp_path / "out.png")
    assert np.array_equal(again.rgb, rgb)
    assert np.array_equal(again.alpha, alpha)


def test_exif_orientation_is_applied(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    loaded = load_image(encoded(Image.fromarray(rgb), "PNG", exif=exif))
    assert np.array_equal(loaded.rgb, np.rot90(rgb, -1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B"])
def test_opaque_modes(mode):
    loaded = load_image(Image.new(mode, (WIDTH, HEIGHT)))
    assert loaded.rgb.shape == (HEIGHT, WIDTH, 3)
    assert loaded.rgb.dtype == np.uint8
    assert loaded.alpha is None


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_modes_with_alpha(mode):
    loaded = load_image(Image.new(mode, (WIDTH, HEIGHT)))
    assert loaded.rgb.shape == (HEIGHT, WIDTH, 3)
    assert loaded.alpha.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("brightest", [200, 65535])
def test_sixteen_bits_are_scaled(brightest):
    gray = np.linspace(0, brightest, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    loaded = load_image(Image.fromarray(gray))
    assert np.abs(loaded.rgb[..., 0] - gray / 257).max() <= 1


BAD_IMAGES = {
    "missing": (lambda d: d / "none.png", "does not exist"),
    "long name": (lambda d: "a" * 5000 + ".png", "cannot be opened"),
    "zero character": (lambda d: "a\0.png", "does not exist"),
    "folder": (lambda d: d, "is a folder"),
    "no bytes": (lambda d: b"", "not a picture"),
    "text": (lambda d: b"hello", "not a picture"),
    "truncated": (lambda d: encoded(Image.effect_noise((WIDTH, HEIGHT), 90))[:2000], "cannot be read"),
    "zero size": (lambda d: np.zeros((0, 0, 3), np.uint8), "at least 64"),
    "small": (lambda d: Image.new("RGB", (63, 200)), "63x200"),
    "large": (lambda d: encoded(Image.new("1", (MAX_PIXELS // 64 + 1, 64))), "resize it"),
    "bomb": (lambda d: encoded(Image.new("1", (14000, 14000))), "resize it"),
    "float array": (lambda d: np.zeros((HEIGHT, WIDTH, 3)), "float64"),
    "gray array": (lambda d: np.zeros((HEIGHT, WIDTH), np.uint8), "HxWx3"),
    "nothing": (lambda d: None, "NoneType"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_one_sentence(name, tmp_path):
    make, expected = BAD_IMAGES[name]
    with pytest.raises(InputError) as caught:
        load_image(make(tmp_path))
    assert expected in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_damaged_bytes_never_raise_anything_else(rgb):
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(Image.fromarray(rgb), kind, exif=exif)
        for _ in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, 300, 4):
                damaged[place] = rng.integers(256)
            for read in (load_image, lambda source: load_mask(source, (HEIGHT, WIDTH))):
                with contextlib.suppress(InputError):
                    read(bytes(damaged[: rng.integers(1, len(damaged))]))


@pytest.mark.parametrize("value", [1, 128, 255])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_mask_values_above_the_middle_count(value, channel):
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[3:9, 5:20, channel] = value
    expected = colours.max(axis=-1) > 0
    picture = Image.fromarray(colours)
    for source in (colours, expected, expected.astype(float), picture, encoded(picture), mask_to_uri(expected)):
        mask = load_mask(source, (HEIGHT, WIDTH))
        assert mask.dtype == bool
        assert np.array_equal(mask, expected)


def test_sixteen_bit_mask(tmp_path):
    deep = np.zeros((HEIGHT, WIDTH), np.uint16)
    deep[2, 3], deep[4, 5], deep[6, 7] = 300, 65535, 32768
    Image.fromarray(deep).save(tmp_path / "mask.png")
    for source in (tmp_path / "mask.png", deep, deep.astype(np.int32)):
        assert np.argwhere(load_mask(source, (HEIGHT, WIDTH))).tolist() == [[4, 5], [6, 7]]


BAD_MASKS = {
    "size": (Image.new("L", (HEIGHT, WIDTH), 255), "same size"),
    "empty": (Image.new("L", (WIDTH, HEIGHT)), "mask is empty"),
    "negative": (np.full((HEIGHT, WIDTH), -1.0), "mask is empty"),
    "nan": (np.full((HEIGHT, WIDTH), np.nan), "NaN"),
    "no channels": (np.zeros((HEIGHT, WIDTH, 0)), "HxW numbers"),
    "objects": (np.full((HEIGHT, WIDTH), None), "HxW numbers"),
    "complex": (np.ones((HEIGHT, WIDTH), complex), "HxW numbers"),
    "list": ([[1]], "list"),
    "other uri": ("data:image/jpeg;base64,AAAA", "begin with"),
    "not base64": ("data:image/png;base64,*", "base64"),
    "not ascii": ("data:image/png;base64,é", "base64"),
    "no picture": ("data:image/png;base64,AAAA", "not a picture"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_bad_masks_are_one_sentence(name):
    source, expected = BAD_MASKS[name]
    with pytest.raises(InputError, match=expected):
        load_mask(source, (HEIGHT, WIDTH))


def test_outputs_are_checked_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for path, expected in (
        (tmp_path / "o.txt", "must end in"),
        (tmp_path / "no" / "o.png", "cannot be written"),
        (tmp_path / "file" / "o.png", "cannot be written"),
        (tmp_path / ("o" * 5000 + ".png"), "cannot be written"),
        ("o\0.png", "zero character"),
    ):
        with pytest.raises(InputError, match=expected):
            check_output(path)
    with pytest.raises(InputError, match="transparency"):
        check_output(tmp_path / "o.jpg", has_alpha=True)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_output(tmp_path / "folder.png")
    for name in ("o.png", "o.jpg", "o.JPEG", "o.webp"):
        assert check_output(tmp_path / name) == tmp_path / name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def write(temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(InputError, match="disk full"):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_png_carries_the_whole_request(rgb, tmp_path):
    mask = rgb[..., 0] > 100
    request = Request(
        make_drags([((1, 2), (30.5, 40))]), "eine Kätzchen 猫", mask_to_uri(mask), Settings(lr=0.5, text=False)
    )
    save_image(Image.fromarray(rgb), tmp_path / "out.png", request)
    again = read_request(tmp_path / "out.png")
    assert again == request
    assert np.array_equal(load_mask(again.mask, (HEIGHT, WIDTH)), mask)
    assert np.array_equal(load_image(tmp_path / "out.png").rgb, rgb)


def test_requests_from_json(tmp_path):
    request = Request(make_drags([((1, 2), (3, 4))]), "a cat", "mask.png", Settings(seed=9))
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "request.json").write_text(request.to_json(), encoding=encoding)
        assert read_request(tmp_path / "request.json") == replace(request, mask=str(tmp_path / "mask.png"))


def test_bad_requests_are_one_sentence(rgb, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    (tmp_path / "latin.json").write_bytes(b'{"prompt": "\xe9"}')
    (tmp_path / "folder.json").mkdir()
    Image.fromarray(rgb).save(tmp_path / "plain.png")
    broken = PngImagePlugin.PngInfo()
    broken.add_itxt(METADATA_KEY, "{")
    Image.fromarray(rgb).save(tmp_path / "broken.png", pnginfo=broken)
    for name in ("none.json", "none.png", "deep.json", "latin.json", "folder.json", "plain.png", "broken.png"):
        with pytest.raises(InputError) as caught:
            read_request(tmp_path / name)
        assert "\n" not in str(caught.value)
