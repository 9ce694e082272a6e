"""Every measure on pictures whose answer is known: the same, moved, turned, destroyed."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.evaluation.metrics import METRICS, Case, Tools, available, measure_edit, reversed_drags
from dragtext.sdk.evaluation.metrics.change import (
    dragging_accuracy,
    dragging_accuracy_as_published,
    mean_change,
    psnr,
    share_changed,
    squared_change,
    structural_similarity,
)
from dragtext.sdk.evaluation.metrics.dift import Recipe, features
from dragtext.sdk.evaluation.metrics.distance import DEFINITIONS, matches
from dragtext.sdk.evaluation.metrics.likeness import ALEXNET, ImageSimilarity, PerceptualDistance
from dragtext.sdk.evaluation.metrics.matching import FeatureField, closest
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.model.base import Conditioning, DecoderStage, DiffusionModel, LatentDistribution, UNetLayout
from torch import nn

HEIGHT, WIDTH, BLOCK = 96, 128, 8
EVERYWHERE = np.ones((HEIGHT, WIDTH), np.uint8)


class Colours(DiffusionModel):
    """A model without noise whose features are the mean colours of 8 x 8 pixels, 0 to 1: black is like nothing."""

    def __init__(self) -> None:
        blocks = nn.ModuleList(nn.Identity() for _ in range(4))
        self.unet, self.layout = blocks, UNetLayout((), None, tuple(DecoderStage(block, (block,)) for block in blocks))
        self.device, self.dtype, self.prediction_type = torch.device("cpu"), torch.float32, "epsilon"
        self.alphas_cumprod = torch.ones(1000, dtype=torch.float64)
        self.name, self.fingerprint = "colours", "0"
        self.prompts: list[str] = []

    def predict(self, latent, timestep, conditioning):
        for block in self.unet:
            latent = block(latent)
        return latent

    def encode_text(self, prompt, size=None):
        self.prompts.append(prompt)
        return Conditioning(torch.zeros(1, 2, 4))

    def encode_image(self, image):
        mean = nn.functional.avg_pool2d(image / 2 + 0.5, BLOCK)
        return LatentDistribution(mean, torch.zeros_like(mean))

    def decode(self, latent):
        raise NotImplementedError


def blocks(seed: int = 0) -> np.ndarray:
    """(96, 128, 3) uint8: each block of 8 x 8 pixels in a colour of its own."""
    colours = np.random.default_rng(seed).integers(20, 256, (HEIGHT // BLOCK, WIDTH // BLOCK, 3), dtype=np.uint8)
    return colours.repeat(BLOCK, 0).repeat(BLOCK, 1)


def a_case(edited: np.ndarray, drag, **more) -> Case:
    return Case(blocks(), edited, (drag,), **{"mask": EVERYWHERE, "prompt": "toys", **more})


def in_unit(name: str, dx: float, dy: float) -> float:
    """A displacement in a definition's unit."""
    return math.hypot(dx / WIDTH, dy / HEIGHT) * 100 if DEFINITIONS[name].relative else math.hypot(dx, dy)


@pytest.fixture(scope="module")
def colours() -> Tools:
    return Tools(features=Colours())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_mean_distance_is_exact_where_features_are(name, colours):
    def measured(edited: np.ndarray, drag, **more) -> float:
        return measure_edit(a_case(edited, drag, **more), [name], colours)[name]

    # Nothing moved: the handle is found where it was.
    assert measured(blocks(), ((32, 40), (64, 56))) == pytest.approx(in_unit(name, 32, 16))
    # All of it moved by two blocks to the right and one down.
    moved = np.roll(blocks(), (BLOCK, 2 * BLOCK), (0, 1))
    assert measured(moved, ((32, 40), (48, 48))) == 0
    assert measured(moved, ((32, 40), (48, 64))) == pytest.approx(in_unit(name, 0, 16))
    # Turned by half a turn around the middle; the corners of a block trade places.
    turned = np.ascontiguousarray(blocks()[::-1, ::-1])
    assert measured(turned, ((39, 47), (88, 48))) == 0
    # Destroyed: nothing is like the handle, and the first pixel that is looked at is as good as any.
    room = np.zeros_like(EVERYWHERE)
    room[30:60, 20:90] = 1
    first = {"anywhere": (0, 0), "mask": (20, 30), "near": (31, 26)}[DEFINITIONS[name].search]
    off = np.subtract((52, 40), first)
    drag = ((32, 40), (52, 40))
    assert measured(np.zeros_like(blocks()), drag, mask=room) == pytest.approx(in_unit(name, *off))


def test_a_search_stays_where_its_definition_looks(colours):
    moved = np.roll(blocks(), (0, 5 * BLOCK), (0, 1))  # by 40 pixels, found there by whoever may look
    case = a_case(moved, ((32, 40), (48, 40)), mask=np.pad(np.ones((96, 60), np.uint8), ((0, 0), (0, 68))))
    found = {name: matches(case.checked(), name, colours.features_of)[0].found for name in DEFINITIONS}
    assert found["md-dragdiffusion"] == found["md-geodrag"] == (72, 40)
    assert found["m-md"] == found["md1-dragflow"]
    assert found["m-md"][0] < 60
    assert min(np.hypot(*np.subtract(found["md2"], place)) for place in case.drags[0]) < 16 / 2**0.5
    assert measure_edit(replace(case, mask=None), ["m-md", "md1-dragflow", "md-geodrag"], colours).keys() == {
        "md-geodrag"
    }


def test_the_prompt_is_given_where_the_definition_gives_it():
    model = Colours()
    for name in DEFINITIONS:
        model.prompts.clear()
        measure_edit(a_case(blocks(1), ((32, 40), (48, 40))), [name], Tools(features=model))
        assert set(model.prompts) == {"" if name in ("md2-unprompted", "md1-dragflow") else "toys"}, name


def test_features_of_a_picture_are_taken_once_for_all_definitions_that_take_them_alike():
    model = Colours()
    tools = Tools(features=model)
    case = a_case(blocks(1), ((32, 40), (48, 40)))
    measure_edit(case, ["md-dragdiffusion", "m-md"], tools)
    assert len(model.prompts) == 2
    measure_edit(replace(case, edited=blocks(2)), ["md-dragdiffusion"], tools)
    assert len(model.prompts) == 3
    assert tools.used(["features"]) == {"features": "colours 0"}


@pytest.mark.parametrize("smooth", [True, False])
def test_the_cosine_is_that_of_enlarged_maps(smooth):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 7, 11, generator=generator)
    size, extent = (45, 83), (48, 88) if smooth else (45, 83)
    mode = {"mode": "bilinear", "align_corners": False} if smooth else {"mode": "nearest"}
    large = nn.functional.interpolate(maps.double(), extent, **mode)[:, :, : size[0], : size[1]]
    places = [(0, 0), (44, 82), (17, 33), (30, 5)]
    allowed = [torch.rand(size, generator=generator) > 0.7 for _ in places]
    before, after = (FeatureField(each.numpy(), extent, smooth) for each in maps)
    found = closest(before, places, after, size, [mask.numpy() for mask in allowed])
    for (row, col), mask, where in zip(places, allowed, found):
        alike = nn.functional.cosine_similarity(large[0, :, row, col][:, None, None], large[1], dim=0)
        alike = alike.masked_fill(~mask, -2)
        assert alike[tuple(where)] == pytest.approx(float(alike.max()), abs=1e-12)
        if smooth:  # else all pixels of a cell are as good
            assert int(alike.argmax()) == where[0] * size[1] + where[1]


def test_features_leave_the_model_as_it_was_and_depend_on_the_seed_alone(model):
    picture = blocks()[:71, :90]  # sides that need padding
    recipe = Recipe(ensemble=3, sampled=True, side=None, prompted=True)
    before = [value.clone() for value in model.unet.state_dict().values()]
    first, again, other = (features(model, picture, "a cat", recipe, seed) for seed in (1, 1, 2))
    assert first.extent == (72, 96)
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert not any(module._forward_hooks for module in model.unet.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, model.unet.state_dict().values()))


def test_the_demonstration_models_features_see_a_duck_go(embedded):
    task = drag_task(0, "move")
    case = Case(task.image, task.truth, task.drags[:1], task.mask, task.caption, task)
    tools = Tools(features=embedded)
    there = measure_edit(case, ["md-geodrag"], tools)["md-geodrag"]
    stayed = measure_edit(replace(case, edited=task.image), ["md-geodrag"], tools)["md-geodrag"]
    assert there < 8
    assert stayed == pytest.approx(math.hypot(*task.offset), abs=8)


def test_dai_divides_once_and_the_published_code_twice():
    original = blocks()
    moved = np.roll(original, (BLOCK, 2 * BLOCK), (0, 1))
    drags = (((40, 40), (56, 48)), ((64, 32), (80, 40)))
    black, white = np.zeros_like(original), np.full_like(original, 255)
    for radius in (1, 5, 10, 20):
        assert dragging_accuracy(original, original, [((40, 40), (40, 40))], radius) == 0
        assert dragging_accuracy(original, moved, drags, radius) == 0
        assert dragging_accuracy(black, white, drags, radius) == pytest.approx(3)
        assert dragging_accuracy_as_published(black, white, drags, radius) == pytest.approx(1.5)
        assert dragging_accuracy_as_published(black, white, drags[:1], radius) == pytest.approx(3)
    # One pixel of a patch of nine is off, in one of its channels, by 51 of 255.
    spoilt = original.copy()
    spoilt[41, 41, 0] += 51 if spoilt[41, 41, 0] < 128 else -51
    assert dragging_accuracy(original, spoilt, [((40, 40), (40, 40))], 1) == pytest.approx(0.04 / 9)


def test_dai_counts_at_a_border_what_both_pictures_have():
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    edited = black.copy()
    edited[:, :2] = 255  # of the patch around column 0 the handle's has 11 columns, the target's has 6
    drag = [((60, 50), (0, 50))]
    assert dragging_accuracy(black, edited, drag, 5) == pytest.approx(3 * 2 / 6)
    assert dragging_accuracy_as_published(black, edited, drag, 5) is None
    assert dragging_accuracy(black, edited, [((0, 0), (WIDTH - 1, HEIGHT - 1))], 20) == 0


def test_what_changed_outside_the_mask_is_counted_and_nothing_else():
    original = blocks() // 2
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :64] = 255
    destroyed = np.where(mask[..., None] > 0, 255 - original, original)
    names = [name for name in METRICS if name.startswith("outside-")]
    case = Case(original, destroyed, (((9, 9), (20, 20)),), mask)
    best = {"outside-changed": 0, "outside-l1": 0, "outside-psnr": 100, "outside-ssim": 1}
    assert measure_edit(case, names, Tools()) == pytest.approx(best)
    brighter = measure_edit(replace(case, edited=original + np.uint8(1)), names, Tools())
    assert (brighter["outside-changed"], brighter["outside-l1"]) == (1, 1)
    assert brighter["outside-psnr"] == pytest.approx(20 * math.log10(255))
    assert 0.99 < brighter["outside-ssim"] < 1
    spoilt = original.copy()
    spoilt[:24, 64:] += 8
    some = measure_edit(replace(case, edited=spoilt), names, Tools())
    assert (some["outside-changed"], some["outside-l1"]) == (0.25, 2)
    assert measure_edit(replace(case, mask=None), names, Tools()) == {}
    assert measure_edit(replace(case, mask=EVERYWHERE), names, Tools()) == {}


def test_pixels_of_whole_pictures():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    everywhere = np.ones((16, 16), bool)
    assert (psnr(black, black), psnr(black, white), mean_change(black, white)) == (100, 0, 255)
    assert (squared_change(black, black), squared_change(black, white)) == (0, 4)
    assert (share_changed(black, black, everywhere), share_changed(black, white, everywhere)) == (0, 1)
    assert structural_similarity(black, black, everywhere) == 1
    # Constant pictures have no structure: (2 a b + c) / (a^2 + b^2 + c) of their levels is all that is left.
    assert structural_similarity(black, white, everywhere) == pytest.approx(6.5025 / (255**2 + 6.5025))


def pattern(shift: int) -> np.ndarray:
    y, x = np.mgrid[:100, :140]
    channels = (x * 3 + y + shift, x + (5 - (shift > 0)) * y, x * y // (1 + (shift > 0)))
    return np.stack([channel % 256 for channel in channels], 2).astype(np.uint8)


def test_ssim_is_scikit_images():
    """structural_similarity(..., gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True) of
    scikit-image 0.26.0, the mean of its map over the box."""
    where = np.zeros((100, 140), bool)
    where[20:70, 30:130] = True
    assert structural_similarity(pattern(0), pattern(9), where) == pytest.approx(0.6089257833475259, abs=1e-9)


def alexnet() -> dict[str, torch.Tensor]:
    """Weights of AlexNet's shapes that are the same everywhere."""
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {}
    for number, (index, shape) in enumerate(shapes.items()):
        wave = (torch.arange(math.prod(shape), dtype=torch.float64) * (0.7 + number)).sin().reshape(shape)
        state[f"features.{index}.weight"] = wave.float() * (2 / math.prod(shape[1:])) ** 0.5 * 1.4
        state[f"features.{index}.bias"] = (torch.arange(shape[0], dtype=torch.float64) * 0.3).sin().float() * 0.1
    return state


needs_lpips = pytest.mark.skipif(
    find_spec("lpips") is None, reason="the package lpips is not installed (pip --no-deps)"
)


@needs_lpips
def test_lpips_is_the_packages():
    """The number is that of lpips 0.1.4 with these weights in its AlexNet. Published weights are not here: they are
    244 MB, and never fetched."""
    lpips = PerceptualDistance(alexnet(), "waves")
    assert lpips(pattern(0), pattern(9)) == pytest.approx(0.1738535314798355, rel=1e-5)
    assert lpips(pattern(9), pattern(0)) == pytest.approx(lpips(pattern(0), pattern(9)))
    assert lpips(pattern(0), pattern(0)) == 0
    left = np.zeros((100, 140), bool)
    left[:, :70] = True
    half = np.where(left[..., None], pattern(0), pattern(9))
    assert lpips.background(pattern(0), half, left) == 0
    assert lpips.background(pattern(0), half, ~left) > 0.05
    # Of drag-back, too, the same picture is the best that there is.
    case = Case(pattern(0), pattern(9), (((9, 9), (20, 20)),), left, back=pattern(0))
    tools = Tools(lpips=lpips)
    names = ["lpips", "image-fidelity", "background-fidelity", "drag-back-lpips", "drag-back-mse"]
    found = measure_edit(case, names, tools)
    assert found["image-fidelity"] == 1 - found["lpips"]
    assert (found["drag-back-lpips"], found["drag-back-mse"]) == (0, 0)
    assert "drag-back-lpips" not in measure_edit(replace(case, back=None), names, tools)
    assert reversed_drags(case.drags) == (((20, 20), (9, 9)),)


@needs_lpips
def test_weights_are_read_from_a_file_or_a_sentence_says_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=f"put torchvision's {ALEXNET} there"):
        PerceptualDistance.load()
    (tmp_path / "checkpoints").mkdir()
    torch.save(alexnet(), tmp_path / "checkpoints" / ALEXNET)
    lpips = PerceptualDistance.load()
    assert lpips(pattern(0), pattern(9)) == PerceptualDistance(alexnet(), "")(pattern(0), pattern(9))
    assert lpips.name.startswith("LPIPS 0.1 on AlexNet ")
    (tmp_path / "other.pth").write_bytes(b"no weights")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "small.pth")
    for name in ("other.pth", "small.pth"):
        with pytest.raises(ModelError, match=name):
            PerceptualDistance.load(tmp_path / name)


def test_without_the_authors_package_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("dragtext.sdk.evaluation.metrics.likeness.find_spec", lambda name: None)
    assert "pip install --no-deps lpips" in str(available(Tools())["lpips"])


def test_clips_similarity_of_the_same_is_one(tmp_path, monkeypatch):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    network = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, image_size=32, patch_size=8, projection_dim=8))
    network.save_pretrained(tmp_path / "clip")
    tools = Tools(clip=tmp_path / "clip")
    case = Case(pattern(0), pattern(0), (((9, 9), (20, 20)),), back=pattern(9))
    found = measure_edit(case, ["clip", "drag-back-clip"], tools)
    assert found["clip"] == pytest.approx(1)
    assert found["drag-back-clip"] < 0.9999
    assert tools.used(["clip"]) == {"clip": "clip"}
    assert ImageSimilarity.load(tmp_path / "clip")(pattern(9), pattern(0)) == pytest.approx(found["drag-back-clip"])
    (tmp_path / "clip" / "config.json").write_text("{}")
    (tmp_path / "clip" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no CLIP"):
        ImageSimilarity.load(tmp_path / "clip")


def test_what_cannot_be_computed_here_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    reasons = available(Tools())
    assert list(reasons) == list(METRICS)
    assert "or name a model, 'embedded' for" in reasons["m-md"]
    assert "hf download openai/clip-vit-base-patch32" in reasons["clip"]
    assert ALEXNET in (reasons["drag-back-lpips"] or "") or find_spec("lpips") is None
    assert all(reasons[name] is None for name in METRICS if METRICS[name].needs is None)
    assert available(Tools(features="embedded"))["md2"] is None
    assert "There is no model at" in available(Tools(features=tmp_path / "none.safetensors"))["md2"]
    case = a_case(blocks(), ((32, 40), (48, 40)))
    with pytest.raises(InputError, match="hf download"):
        measure_edit(case, ["clip"], Tools())


@pytest.mark.parametrize("kind", ["move", "part", "rotate"])
def test_the_truth_is_perfect_by_every_measure_of_it(kind):
    task = drag_task(1, kind)
    names = [name for name, metric in METRICS.items() if "scenes" in metric.source]
    case = Case(task.image, task.truth, task.drags, task.mask, task.caption, task)
    perfect, nothing = (
        measure_edit(replace(case, edited=edited), names, Tools()) for edited in (task.truth, task.image)
    )
    assert (perfect["remains"], perfect["truth-psnr"], nothing["remains"]) == (0, 100, 1)
    assert nothing["truth-psnr"] < 30
    if kind == "rotate":
        assert perfect.keys() == {"remains", "truth-psnr"}
        return
    length = math.hypot(*task.offset)
    assert perfect["distance-left"] == pytest.approx(0, abs=max(1.0, 0.1 * length))
    assert nothing["distance-left"] == pytest.approx(length, abs=max(1.0, 0.1 * length))
    assert perfect["distance-left"] == pytest.approx(abs(1 - perfect["way"]) * length, abs=0.6)
    if kind == "move":
        ground = Case(task.image, np.full_like(task.image, task.image[0, 0]), task.drags, task.mask, "", task)
        assert perfect["overlap"] > 0.85
        assert measure_edit(ground, ["distance-left", "overlap"], Tools())["distance-left"] == pytest.approx(length)


def test_what_is_asked_for_is_checked():
    drag = (((9, 9), (20, 20)),)
    picture = blocks()
    for case, names, what in (
        (Case(picture, picture, drag), ["md"], "There is no measure 'md'"),
        (Case(picture[..., 0], picture, drag), ["mse"], "`original`"),
        (Case(picture, picture / 255, drag), ["mse"], "`edited`"),
        (Case(picture, picture, ()), ["mse"], "no drag"),
        (Case(picture, picture, (((9, 9), (WIDTH, 20)),)), ["mse"], "outside the picture"),
        (Case(picture, picture, drag, picture[..., 0].T), ["mse"], "mask's shape"),
    ):
        with pytest.raises(InputError, match=what):
            measure_edit(case, names, Tools())
    # A result of another size is brought to the original's, and a mask of nothing is none.
    flat = np.full_like(picture, 77)
    case = Case(flat, flat[::2, ::2], drag, np.zeros((HEIGHT, WIDTH)))
    assert measure_edit(case, ["outside-l1", "mse"], Tools()) == {"mse": 0}
