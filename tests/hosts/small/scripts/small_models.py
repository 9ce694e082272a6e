"""An extension for tests only: it lets Forge and Forge Neo read small checkpoints, which they would not recognise.

Both know models by the sizes of their weights and take everything else from folders of their own. Link or copy
`tests/hosts/small` into the WebUI's `extensions`; what `tests/hosts/checkpoints.py` wrote says what to change. Until it
is taken out again, checkpoints of the usual size of that family are refused instead.
"""

import json
from pathlib import Path

from modules.paths_internal import models_path

try:
    from huggingface_guess import model_list
except ImportError:  # A1111 reads a yaml beside the checkpoint
    model_list = None

for file in sorted(Path(models_path, "Stable-diffusion").glob("*-parts/forge.json")) if model_list else ():
    told = json.loads(file.read_text(encoding="utf-8"))
    # In place: Neo looks whether a model is exactly of its class.
    family = getattr(model_list, told["family"])
    family.huggingface_repo = str(file.parent)
    family.unet_config = {**family.unet_config, **told["unet"]}
