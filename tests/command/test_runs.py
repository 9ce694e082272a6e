"""`dragtext bench` and `dragtext batch` by command: measured, gone on with, stopped, and what cannot be asked."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from dragtext.sdk.command.bench import ablate
from dragtext.sdk.drag import LOOPS
from dragtext.sdk.errors import InputError
from dragtext.sdk.evaluation.ablations import ABLATIONS
from dragtext.sdk.evaluation.metrics import METRICS
from PIL import Image

from ..helpers import noise
from .conftest import command

QUICK = ("--steps", 1, "--lora-steps", 0, "--inference-steps", 2, "--quiet")


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_bench_measures_scenes_by_every_method_and_adds_another(tmp_path, model_folder, run):
    out = tmp_path / "run"
    asked = ("bench", "scenes", "--model", model_folder, "--limit", 2, "--category", "move", "-o", out, *QUICK)
    code, told, error = run(*asked, "--methods", "dragdiffusion", "--metrics", "remains,outside-changed")
    assert (code, error) == (0, "")
    assert "4 edits" in told
    assert [(row["item"], row["arm"]) for row in rows(out)] == [
        (item, arm) for item in ("move-0000", "move-0001") for arm in ("dragdiffusion", "dragdiffusion+text")
    ]
    for row in rows(out):
        assert not row["error"]
        assert set(row["metrics"]) == {"remains", "outside-changed"}
        assert row["metrics"]["outside-changed"] == 0
        assert (out / "pictures" / row["item"] / "truth.png").is_file()
        assert row["category"] == "move"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["metrics"]["remains"]["direction"] == "lower"
    assert manifest["arms"]["dragdiffusion+text"]["text"] is True
    assert manifest["command"].startswith("dragtext bench scenes --model")
    assert manifest["model"]["fingerprint"]
    code, told, error = run(
        *asked, "--methods", "gooddrag", "--no-text", "--metrics", "remains", "--vary", "lr=0.1,0.2"
    )
    assert (code, error) == (0, "")
    assert [row["arm"] for row in rows(out)[4:]] == ["gooddrag,lr=0.1", "gooddrag,lr=0.2"] * 2


def test_experiments_ask_something_and_their_pairs_are_known_by_name():
    for name, experiment in ABLATIONS.items():
        arms = experiment.arms()
        names = {arm.name for arm in arms}
        assert len(names) == len(arms) > 3, name
        assert not any(" " in arm.name for arm in arms)
        assert experiment.question.endswith("?")
        assert experiment.expected
        for arm in arms:
            assert arm.name.endswith("+text") == arm.settings["text"], arm.name
        assert set(experiment.metrics) <= set(METRICS)
        assert name in str(inspect.signature(ablate))
        # Crossed with every loop that somebody asks for.
        loops = [loop for loop in LOOPS if (name, loop) != ("background", "dragnoise")]
        assert {arm.settings["method"] for arm in experiment.arms(loops)} == set(loops)
    assert {a.name.removesuffix("+text") for a in ABLATIONS["text"].arms()} == {"dragdiffusion", "gooddrag"}
    with pytest.raises(InputError, match="warp has none"):
        ABLATIONS["text"].arms(("warp",))
    with pytest.raises(InputError, match="no background to hold"):
        ABLATIONS["background"].arms(("dragnoise",))


def test_an_experiment_is_a_run_that_says_what_was_expected(tmp_path, model_folder, run, monkeypatch):
    arms = ABLATIONS["extrapolation"].arms()[:2]
    fast = {"steps": 1, "lora_steps": 0, "inference_steps": 2, **arms[0].settings}
    short = tuple(replace(arm, settings=fast, suited=False) for arm in arms)
    changed = replace(ABLATIONS["extrapolation"], make=lambda _: short, metrics=("remains", "drag-back-mse"))
    monkeypatch.setattr("dragtext.sdk.evaluation.ablations.ABLATIONS", {"extrapolation": changed})
    asked = ("ablate", "extrapolation", "--model", model_folder, "--limit", 1, "-o", tmp_path / "run", "-q")
    code, _, error = run(*asked)
    assert (code, error) == (0, "")
    assert [row["arm"] for row in rows(tmp_path / "run")] == ["dragdiffusion,at=1", "dragdiffusion,at=0"]
    assert all(set(row["metrics"]) == {"remains", "drag-back-mse"} for row in rows(tmp_path / "run"))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["expected"] == changed.expected
    assert manifest["arms"]["dragdiffusion,at=0"]["at"] == 0


def test_batch_does_what_a_file_asks_and_says_what_failed(tmp_path, model_folder, run):
    Image.fromarray(noise(64, 64)).save(tmp_path / "a.png")
    line = {
        "image": "a.png",
        "prompt": "a cat",
        "drags": [[[20, 20], [40, 40]]],
        "settings": {"method": "dragdiffusion"},
    }
    lines = [line, {**line, "name": "other", "settings": {"method": "freedrag", "seed": 3}}, {**line, "image": "b.png"}]
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n".join(map(json.dumps, lines)) + "\n")
    out = tmp_path / "out"
    asked = ("batch", jobs, "--model", model_folder, "-o", out, *QUICK, "--json")
    code, told, error = run(*asked)
    assert code == 2
    assert "1 edits failed" in error
    assert json.loads(told) == {"folder": str(out), "done": 2, "failed": 1, "left": 0}
    assert (out / "pictures" / "other" / "edit-3.png").is_file()
    assert [bool(row["error"]) for row in rows(out)] == [False, False, True]
    # What a result carries is its whole request.
    again = tmp_path / "again.png"
    code, _, error = run(
        "edit", tmp_path / "a.png", "--request", out / "pictures" / "other" / "edit-3.png", "--model", model_folder,
        "-o", again, "--quiet",
    )  # fmt: skip
    assert (code, error) == (0, "")
    assert again.read_bytes() == (out / "pictures" / "other" / "edit-3.png").read_bytes()
    Image.fromarray(noise(64, 64)).save(tmp_path / "b.png")
    code, told, _ = run(*asked)
    assert code == 0
    assert json.loads(told)["done"] == 3
    assert len(rows(out)) == 4  # the failure, and its second try


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bench", "nowhere"), "neither `scenes`, nor a folder of samples"),
        (("bench", "scenes", "--methods", "magic"), "magic"),
        (("bench", "scenes", "--metrics", "beauty"), "There is no measure 'beauty'"),
        (("bench", "scenes", "--seeds", "one"), "--seeds one is not of the form 0,1,2"),
        (("bench", "scenes", "--seed", 3), "Give --seeds instead of --seed"),
        (("bench", "scenes", "--methods", "warp,warp"), "named twice"),
        (("bench", "scenes", "--devices", "cpu", "--ray", "local"), "Give one of --device, --devices and --ray"),
        (("bench", "scenes", "--devices", ","), "--devices names none"),
        (("bench", "scenes", "--workers", 2), "--workers counts those of a Ray cluster"),
        (("bench", "scenes", "--category", "jump", "--limit", 1), "category jump"),
        (("ablate", "nothing"), "There is no experiment nothing"),
        (("batch", "scenes"), "use `dragtext bench scenes`"),
        (("batch", "."), "There are no samples in"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tmp_path, run, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert not any(tmp_path.glob("bench-*/rows.jsonl"))


@pytest.mark.parametrize("line", ["no json", "[]", '{"drags": [[[1, 1], [2, 2]]]}', '{"image": "a.png"}', ""])
def test_a_line_that_is_no_request_is_named(tmp_path, run, line):
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(line)
    code, _, error = run("batch", jobs)
    assert code == 2
    assert "jobs.jsonl" in error


def test_ctrl_c_finishes_what_is_in_hand_and_the_same_command_goes_on(tmp_path, model_folder):
    out = tmp_path / "run"
    asked = command(
        "bench", "scenes", "--model", model_folder, "--limit", 8, "--metrics", "remains", "-o", out,
        "--methods", "dragdiffusion", "--no-text", "--steps", 2, "--lora-steps", 0, "--inference-steps", 2,
        "--threads", 1,
    )  # fmt: skip
    process = subprocess.Popen(
        [*asked, "--devices", "cpu,cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not (out / "rows.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "the same command goes on from there" in error
    begun = rows(out)
    assert 0 < len(begun) < 8
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=True)
    assert f"{len(begun)} of 8 are done already" in done.stderr
    keys = [row["item"] for row in rows(out)]
    assert len(keys) == len(set(keys)) == 8
