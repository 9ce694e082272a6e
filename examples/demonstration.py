"""The four drags of `dragtext demo`, as pictures that carry their requests."""

from pathlib import Path

from dragtext import sdk
from dragtext.sdk.evaluation.examples import examples

folder = Path("examples-out")
folder.mkdir(exist_ok=True)
model = sdk.load_model()  # the embedded one, whose own settings begin with a warped start
for example in examples():
    request = example.request
    result = sdk.edit(example.picture, request.drags, prompt=example.prompt, mask=request.mask, model=model)
    result.save(folder / f"{example.name}.png")
    print(f"{example.title}: {sum(result.timings.values()):.1f} s")
