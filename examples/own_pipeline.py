"""Drag on a diffusers pipeline of your own; between two edits it is exactly what it was.

Here the pipeline is made of the embedded model's folder; yours comes from wherever you load it.
"""

from pathlib import Path

from diffusers import StableDiffusionPipeline
from dragtext import sdk
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.model.load import EMBEDDED

pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED, safety_checker=None, local_files_only=True)
task = drag_task(5, "move")
editor = sdk.Editor.from_pipeline(pipe, task.image, prompt=task.caption)
result = editor.drag(task.drags, mask=task.mask, steps=6, inference_steps=20, lora_steps=0)
folder = Path("examples-out")
folder.mkdir(exist_ok=True)
result.save(folder / "own-pipeline.png")
print(result.stopped, "after", result.steps, "updates")
