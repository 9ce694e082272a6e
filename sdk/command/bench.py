"""`dragtext bench` and `dragtext ablate`: how good edits are. `dragtext batch`: many edits of one's own."""

from __future__ import annotations

import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import InputError
from .arguments import (
    AttentionOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    QuietOption,
    VaeOption,
    setting_options,
)
from .information import versions
from .running import DevicesOption, RayOption, RunOption, ThreadsOption, WorkersOption


@setting_options
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="scenes, a folder of samples (DragBench, Drag100, NAME.json beside NAME.png) or a .jsonl file"
        ),
    ],
    methods: Annotated[
        Optional[str],
        typer.Option("--methods", help="gooddrag,dragdiffusion,... ; recommended is the model's own way [recommended]"),
    ] = None,
    vary: Annotated[
        Optional[list[str]], typer.Option("--vary", help="SETTING=VALUE,VALUE,... ; once per setting to vary")
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="items [all; of scenes 20]")] = None,
    category: Annotated[
        Optional[str], typer.Option(help="only these, for example move,part; of scenes also twins, long, unnamed")
    ] = None,
    seeds: Annotated[str, typer.Option(help="0,1,2: each edit with each of them")] = "42",
    metrics: Annotated[Optional[str], typer.Option(help="by name, see docs/metrics.md [all quick ones]")] = None,
    features: Annotated[
        str, typer.Option(help="model whose features mean distances compare; own is the edit's")
    ] = "own",
    lpips_weights: Annotated[Optional[str], typer.Option(help="AlexNet's file [torch's cache]")] = None,
    clip: Annotated[Optional[str], typer.Option(help="CLIP's folder or name [the hub's cache]")] = None,
    suited: Annotated[
        Optional[bool],
        typer.Option("--suited/--no-suited", help="loops get what suits the demonstration model [on scenes with it]"),
    ] = None,
    model: ModelOption = None,
    vae: VaeOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    attention: AttentionOption = "sdpa",
    output_dir: RunOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Measure edits on scenes with known answers, DragBench, Drag100 or a folder of your own. Resumes after a stop."""
    from ..batch.grid import parse_axis, product
    from ..evaluation.bench import RECOMMENDED, choose_measures, make_arms, make_tasks
    from ..evaluation.readers import SCENES, read_items
    from .running import run_tasks, tell

    given = {name: value for name, value in settings.items() if value is not None}
    text, given_seed = given.pop("text", None), given.pop("seed", None)
    named = given.pop("method", None)
    if named is not None and methods is not None:
        raise InputError("Give --method or --methods, not both.")
    if given_seed is not None:
        raise InputError("Give --seeds instead of --seed.")
    varied = product([parse_axis(axis) for axis in vary or ()])
    own_scenes = what == SCENES and model is None
    chosen = _listed(methods or named or RECOMMENDED)
    arms = make_arms(chosen, text, given, varied, own_scenes if suited is None else suited)
    judge = choose_measures(None if metrics is None else _listed(metrics), features, lpips_weights, clip)
    found = read_items(what, () if category is None else _listed(category))
    items = list(islice(found, 20 if limit is None and what == SCENES else limit))
    folder = Path(output_dir or f"bench-{Path(what).name}")
    outcome = run_tasks(
        list(make_tasks(items, arms, _numbers(seeds))),
        folder,
        {
            **_facts(f"{Path(what).name}, {len(items)} items", len(items), _numbers(seeds)),
            "arms": {arm.name: arm.told() for arm in arms},
            "metrics": judge.told(),
        },
        {"source": model, "dtype": dtype, "attention": attention, "vae": vae},
        judge=judge,
        device=device,
        devices=devices,
        ray=ray,
        workers=workers,
        threads=threads,
        quiet=quiet,
        line=_measured,
    )
    tell(outcome, json_, f"; see it with: dragtext report {shlex.quote(str(folder))}")


def ablate(
    experiment: Annotated[str, typer.Argument(help="one of text, text-weight, text-rate, block, extrapolation")],
    limit: Annotated[int, typer.Option(min=1, help="items of every kind")] = 20,
    seeds: Annotated[str, typer.Option(help="0,1,2: each edit with each of them")] = "42",
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    output_dir: RunOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """One of the paper's experiments on scenes with known answers. Resumes after a stop."""
    from ..evaluation.ablations import ABLATIONS
    from ..evaluation.bench import Measures, make_tasks
    from ..evaluation.readers import scenes
    from .running import run_tasks, tell

    if experiment not in ABLATIONS:
        raise InputError(f"There is no experiment {experiment}; there are {', '.join(ABLATIONS)}.")
    chosen = ABLATIONS[experiment]
    items = list(islice(scenes(chosen.kinds), limit * len(chosen.kinds)))
    judge = Measures(chosen.metrics)
    folder = Path(output_dir or f"ablate-{experiment}")
    outcome = run_tasks(
        list(make_tasks(items, chosen.arms, _numbers(seeds))),
        folder,
        {
            **_facts(f"{experiment}, {limit} items of each kind", len(items), _numbers(seeds)),
            "question": chosen.question,
            "expected": chosen.expected,
            "arms": {arm.name: arm.told() for arm in chosen.arms},
            "metrics": judge.told(),
        },
        {"source": model, "dtype": dtype},
        judge=judge,
        device=device,
        devices=devices,
        ray=ray,
        workers=workers,
        threads=threads,
        quiet=quiet,
        line=_measured,
    )
    tell(outcome, json_, f"; see it with: dragtext report {shlex.quote(str(folder))}")


@setting_options
def batch(
    what: Annotated[
        str, typer.Argument(help="a folder of samples (NAME.json beside NAME.png, DragBench, ...) or a .jsonl file")
    ],
    limit: Annotated[Optional[int], typer.Option(min=1, help="items [all]")] = None,
    model: ModelOption = None,
    vae: VaeOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    attention: AttentionOption = "sdpa",
    output_dir: RunOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Do many edits from a folder or a file of requests, on one device, several or a cluster. Resumes after a stop."""
    from ..batch.tasks import RequestSource, Task
    from ..evaluation.readers import SCENES, read_items
    from ..settings import given_settings, make_settings
    from .running import run_tasks, tell

    if what == SCENES:
        raise InputError("The scenes are there to be measured; use `dragtext bench scenes`.")
    given = {name: value for name, value in settings.items() if value is not None}
    tasks = []
    for item in islice(read_items(what), limit):
        assert isinstance(item.source, RequestSource)  # what all readers but that of scenes give
        asked = make_settings(given, item.source.request.settings)
        values = given_settings(asked)
        tasks.append(
            Task(item.name, item.group, "edit", values.pop("seed", asked.seed), item.source, values, item.category)
        )
    folder = Path(output_dir or f"{Path(what).stem}-dragged")
    outcome = run_tasks(
        tasks,
        folder,
        {
            **_facts(f"{Path(what).name}, {len(tasks)} edits", len(tasks), sorted({task.seed for task in tasks})),
            "arms": {"edit": given},
            "metrics": {},
        },
        {"source": model, "dtype": dtype, "attention": attention, "vae": vae},
        device=device,
        devices=devices,
        ray=ray,
        workers=workers,
        threads=threads,
        quiet=quiet,
        line=lambda row: f"{row['distance_left']:.1f} px left",
    )
    tell(outcome, json_)
    if outcome["failed"]:
        raise InputError(
            f"{outcome['failed']} edits failed, and rows.jsonl in {folder} says why; the same command tries again."
        )


def _facts(title: str, items: int, seeds: list[int]) -> dict[str, Any]:
    """What every run's manifest says."""
    command = shlex.join(["dragtext", *sys.argv[1:]])
    return {"title": title, "command": command, "versions": versions(), "items": items, "seeds": seeds}


def _measured(row: dict[str, Any]) -> str:
    """The number that says most of what was measured."""
    known = row.get("metrics", {})
    name = next((name for name in ("remains", "m-md", "lpips") if name in known), next(iter(known), None))
    return "" if name is None else f"{name} {known[name]:.3g}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in _listed(text)]
    except ValueError:
        raise InputError(f"--seeds {text} is not of the form 0,1,2.") from None
    if not found or min(found) < 0:
        raise InputError(f"--seeds {text} is not of the form 0,1,2.")
    return list(dict.fromkeys(found))
