"""`dragtext bench` and `dragtext ablate`: how good edits are."""

from __future__ import annotations

import shlex
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
from .running import (
    DevicesOption,
    RayOption,
    RunOption,
    ThreadsOption,
    Where,
    WorkersOption,
    facts,
    listed,
    run_tasks,
    tell,
)


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
        Optional[str],
        typer.Option(help="only these, for example move,part; of scenes also twins, long, negative, unnamed"),
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

    given = {name: value for name, value in settings.items() if value is not None}
    text, given_seed = given.pop("text", None), given.pop("seed", None)
    named = given.pop("method", None)
    if named is not None and methods is not None:
        raise InputError("Give --method or --methods, not both.")
    if given_seed is not None:
        raise InputError("Give --seeds instead of --seed.")
    varied = product([parse_axis(axis) for axis in vary or ()])
    own_scenes = what == SCENES and model is None
    chosen = listed(methods or named or RECOMMENDED)
    arms = make_arms(chosen, text, given, varied, own_scenes if suited is None else suited)
    judge = choose_measures(None if metrics is None else listed(metrics), features, lpips_weights, clip)
    found = read_items(what, () if category is None else listed(category))
    items = list(islice(found, 20 if limit is None and what == SCENES else limit))
    folder = Path(output_dir or f"bench-{Path(what).name}")
    outcome = run_tasks(
        list(make_tasks(items, arms, _numbers(seeds))),
        folder,
        {
            **facts(f"{Path(what).name}, {len(items)} items", len(items), _numbers(seeds)),
            "arms": {arm.name: arm.told() for arm in arms},
            "metrics": judge.told(),
        },
        {"source": model, "dtype": dtype, "attention": attention, "vae": vae},
        judge=judge,
        where=Where(device, devices, ray, workers, threads),
        quiet=quiet,
        line=_measured,
    )
    tell(outcome, json_, f"; see it with: dragtext report {shlex.quote(str(folder))}")


def ablate(
    experiment: Annotated[
        str,
        typer.Argument(
            help="text, text-weight, text-rate, block, extrapolation, guidance, background, identity or overhead"
        ),
    ],
    methods: Annotated[
        Optional[str], typer.Option("--methods", help="loops that it is crossed with [the experiment's own]")
    ] = None,
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

    if experiment not in ABLATIONS:
        raise InputError(f"There is no experiment {experiment}; there are {', '.join(ABLATIONS)}.")
    chosen = ABLATIONS[experiment]
    arms = chosen.arms(listed(methods or ""))
    items = list(islice(scenes(chosen.kinds), limit * len(chosen.kinds)))
    judge = Measures(chosen.metrics)
    folder = Path(output_dir or f"ablate-{experiment}")
    outcome = run_tasks(
        list(make_tasks(items, arms, _numbers(seeds))),
        folder,
        {
            **facts(f"{experiment}, {limit} items of each kind", len(items), _numbers(seeds)),
            "question": chosen.question,
            "expected": chosen.expected,
            "arms": {arm.name: arm.told() for arm in arms},
            "metrics": judge.told(),
        },
        {"source": model, "dtype": dtype},
        judge=judge,
        where=Where(device, devices, ray, workers, threads),
        quiet=quiet,
        line=_measured,
    )
    tell(outcome, json_, f"; see it with: dragtext report {shlex.quote(str(folder))}")


def _measured(row: dict[str, Any]) -> str:
    """The number that says most of what was measured."""
    known = row.get("metrics", {})
    name = next((name for name in ("remains", "m-md", "lpips") if name in known), next(iter(known), None))
    return "" if name is None else f"{name} {known[name]:.3g}"


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in listed(text)]
    except ValueError:
        raise InputError(f"--seeds {text} is not of the form 0,1,2.") from None
    if not found or min(found) < 0:
        raise InputError(f"--seeds {text} is not of the form 0,1,2.")
    return list(dict.fromkeys(found))
