"""What an edit will take, from made-up edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from dragtext.extension.expectation import Expected, Experience
from dragtext.extension.pictures import Picture
from dragtext.sdk.settings import make_settings

BASE: dict[str, Any] = {"method": "gooddrag", "steps": 100, "lora_steps": 80, "inference_steps": 50, "strength": 0.75}


def picture(name: str = "a", size: tuple[int, int] = (512, 512)) -> Picture:
    return Picture(name, b"", size, b"")


@dataclass
class Result:
    """Of an edit that made 40 steps at 0.5 s each."""

    settings: Any
    padded: tuple[int, int] = (512, 512)
    steps: int = 40
    peak_memory: int = 4 * 2**30
    timings: dict[str, float] = field(
        default_factory=lambda: {"encode": 0.1, "identity": 30.0, "invert": 4.0, "drag": 20.0, "denoise": 6.0}
    )

    @property
    def rendering(self) -> Any:
        return SimpleNamespace(frame=SimpleNamespace(padded=self.padded))


def learned(name: str = "a", **more: Any) -> Experience:
    experience = Experience()
    worked = more.pop("worked", ("identity", "invert", "drag", "denoise"))
    settings = make_settings({**BASE, **more.pop("settings", {})}).resolve()
    experience.learn(picture(name), Result(settings, **more), 512, worked)
    return experience


def expect(experience: Experience, name: str = "b", size: tuple[int, int] = (512, 512), **settings: Any) -> Expected:
    return experience.expect(picture(name, size), make_settings({**BASE, **settings}))


def test_nothing_is_known_at_first():
    assert expect(Experience()) == Expected(None, None)
    assert expect(learned(), method="freedrag") == Expected(None, None)


def test_the_same_again_takes_the_same():
    assert expect(learned()) == Expected(pytest.approx(60.0), 4 * 2**30)


def test_what_is_known_of_a_picture_is_not_paid_again():
    assert expect(learned(), name="a").seconds == pytest.approx(26.0)
    # Another LoRA is another LoRA, and everything is inverted anew with it.
    assert expect(learned(), name="a", lora_rank=8).seconds == pytest.approx(60.0)
    assert expect(learned(), name="a", strength=0.6).seconds == pytest.approx(20 + 0.8 * 10 + 30)
    published = learned(settings={**BASE, "identity": "published"})
    assert expect(published, name="a", strength=0.6, identity="published").seconds == pytest.approx(20 + 0.8 * 10)


def test_it_follows_size_and_settings():
    experience = learned()
    assert expect(experience, lora_steps=0).seconds == pytest.approx(30.0)
    assert expect(experience, lora_steps=160).seconds == pytest.approx(90.0)
    assert expect(experience, steps=20).seconds == pytest.approx(50.0)
    assert expect(experience, inference_steps=25).seconds == pytest.approx(55.0)
    larger = expect(experience, size=(1024, 512))
    assert (larger.seconds, larger.memory) == (pytest.approx(120.0), None)
    assert expect(experience, size=(4000, 3000)).seconds == pytest.approx(60.0)  # worked on at the model's size
    assert expect(experience, size=(4000, 3000), resolution=1024).seconds == pytest.approx(240.0)


def test_phases_that_had_nothing_to_do_teach_nothing():
    second = learned(
        timings={"identity": 0.01, "invert": 0.01, "drag": 20.0, "denoise": 6.0}, worked=("drag", "denoise")
    )
    assert expect(second).seconds is None
    assert expect(second, name="a").seconds == pytest.approx(26.0)


def test_a_mere_start_has_no_loop():
    settings = {"method": "warp", "lora_steps": 0}
    experience = learned(settings=settings, steps=0, timings={"invert": 8.0, "drag": 0.1, "denoise": 6.0})
    assert expect(experience, **settings).seconds == pytest.approx(14.0)
