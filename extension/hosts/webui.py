"""What A1111 and Forge have in common: their `modules` package with queue, progress, saving, options and prompts."""

from __future__ import annotations

import re
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...sdk.errors import InputError, ModelError
from ...sdk.model.base import Conditioning, DiffusionModel, PredictionType
from ...sdk.model.recommended import Recommended, read_recommended
from ...sdk.model.schedule import zero_terminal
from ..options import BY_NAME, PREFIX
from .base import Accounts, Host, Notice

STEPS = 50  # of a whole denoise; the hosts' `[from:to:when]` is read on this scale
CHUNK = 77
VECTOR = "vector"  # the hosts' name for what SDXL is told beside the tokens
SUPPORTED = "In a WebUI DragText works with Stable Diffusion 1.x, 2.x and SDXL; choose such a checkpoint"
ZERO_TERMINAL = "Zero Terminal SNR"  # as the hosts' setting for noise schedules names it
# Settings that decide the numbers of SDXL, or of every v prediction; not all of them are there in every host.
MODEL_SETTINGS = ("sdxl_crop_top", "sdxl_crop_left", "sdxl_clip_l_skip", "sd_noise_schedule")


class LentModel(DiffusionModel):
    """A host's model. `_text`: what of the edit's prompt is encoded; `_negative`: what of a negative prompt is."""

    _text: str
    _negative: Callable[[str], str]

    @torch.no_grad()
    def encode_text(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        # What is left of `prompt` where the host has taken extra networks out.
        return self._encoded(self._text, sized(self._text, size))

    @torch.no_grad()
    def encode_negative(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        text = self._negative(prompt)
        return self._encoded(text, sized(text, size, negative=True))

    @abstractmethod
    def _encoded(self, text: str, told: Any) -> Conditioning:
        """By the host's encoders. told: the text as they take it, see `sized`."""


class WebUI(Host):
    """Subclasses lend the model; the rest is here. The host's modules are imported when they are needed, never before
    the host has finished its own start."""

    describers = ("clip", "deepbooru")
    _lent: Any = None  # the host's model, while an edit works on it

    @contextmanager
    def _lending(self, model: Any) -> Iterator[None]:
        """For subclasses: `check` looks whether this is still the host's model."""
        self._lent = model
        try:
            yield
        finally:
            self._lent = None

    def check(self) -> None:
        from modules.sd_models import model_data

        if self._lent is not None and model_data.sd_model is not self._lent:
            raise ModelError("The checkpoint was changed while the edit ran; start the edit again.")

    @property
    def has_public_api(self) -> bool:  # type: ignore[override]
        from modules import shared

        return bool(shared.cmd_opts.api or getattr(shared.cmd_opts, "nowebui", False))

    @contextmanager
    def turn(self, job: str) -> Iterator[None]:
        from modules import progress, shared
        from modules.call_queue import queue_lock

        progress.add_task_to_queue(job)
        try:
            with queue_lock:
                shared.state.begin(job=job)
                shared.state.job_count, shared.state.job_no = 1, 0
                progress.start_task(job)
                try:
                    yield
                finally:
                    shared.state.end()
        finally:
            progress.pending_tasks.pop(job, None)
            progress.finish_task(job)

    def show(self, notice: Notice) -> None:
        from modules import shared

        state = shared.state
        state.sampling_steps, state.sampling_step = notice.total, notice.done
        state.textinfo = notice.text
        if notice.preview is not None and notice.preview is not state.current_image:
            state.assign_current_image(notice.preview)

    def interrupted(self) -> bool:
        from modules import shared

        state = shared.state
        stopped = state.interrupted or state.skipped or getattr(state, "stopping_generation", False)
        # A reload interrupts what runs; what comes after that in the queue would begin afresh.
        return bool(stopped or self.ending)

    @property
    def ending(self) -> bool:
        from modules import shared

        # gradio sets this before it waits for uvicorn; other callbacks of a reload come when the server has gone.
        return bool(getattr(getattr(getattr(shared, "demo", None), "server", None), "should_exit", False))

    def save(
        self, picture: Image.Image, infotext: str, records: Mapping[str, str], prompt: str, seed: int, *, png: bool
    ) -> Path | None:
        from modules import images, shared
        from modules.paths_internal import data_path

        opts = shared.opts
        if not self.option("save") or not opts.samples_save:
            return None
        folder = self.option("output_folder") or opts.outdir_samples or opts.outdir_img2img_samples
        extension = opts.samples_format
        if png or ("A" in picture.getbands() and extension.lower() in ("jpg", "jpeg")):
            extension = "png"
        name, _ = images.save_image(
            picture.copy(),  # what saves may write into it: Forge hides the infotext in an alpha channel
            str(Path(data_path) / folder),
            "",
            seed,
            prompt,
            extension,
            info=infotext,
            existing_info=dict(records),
        )
        return Path(name)

    def option(self, name: str) -> Any:
        from modules import shared

        return getattr(shared.opts, PREFIX + name, BY_NAME[name].default)

    def accounts(self) -> Accounts:
        from modules import shared

        options = shared.cmd_opts
        page = _accounts(getattr(options, "gradio_auth", None))
        path = getattr(options, "gradio_auth_path", None)
        if path:
            lines = Path(path).read_text(encoding="utf8").splitlines()
            page |= _accounts(",".join(line.strip() for line in lines if line.strip()))
        return Accounts(page, _accounts(getattr(options, "api_auth", None)))

    def describe(self, picture: Image.Image, way: str) -> str:
        reason: object = "its log says why"
        try:
            if way == "clip":
                from modules import shared

                text = shared.interrogator.interrogate(picture)
                if "<error>" not in text:  # which it appends instead of raising
                    return text
            else:
                return _tags(picture)
        except (AttributeError, IndexError):  # hosts go on with the file that they did not get, or did not trust
            reason = "its model could not be loaded, its log says why"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"The WebUI could not describe the picture ({reason}); it loads a model for that at the first use, over "
            "the network."
        )

    def recommended(self) -> Recommended:
        from modules.sd_models import model_data

        model = model_data.sd_model  # `shared.sd_model` would load one
        known = getattr(model, "filename", None) or getattr(
            getattr(model, "sd_checkpoint_info", None), "filename", None
        )
        return read_recommended(Path(known)) if known else {}

    @property
    def config_folder(self) -> Path | None:
        from modules.paths_internal import data_path

        return Path(data_path) / "dragtext"

    @property
    def cache_folder(self) -> Path | None:
        from modules.paths_internal import data_path

        return Path(data_path) / "cache" / "dragtext"


def _tags(picture: Image.Image) -> str:
    """DeepDanbooru's. A load that failed leaves a network that knows no tags, and the host would never load again."""
    from modules import deepbooru

    def drop_half_loaded() -> None:
        if not getattr(getattr(deepbooru.model, "model", None), "tags", True):
            deepbooru.model.model = None

    drop_half_loaded()
    try:
        return deepbooru.model.tag(picture)
    finally:
        drop_half_loaded()


def _accounts(text: str | None) -> dict[str, str]:
    """`name:password,name:password` as the hosts' flags have it."""
    pairs = (pair.strip().partition(":") for pair in (text or "").split(","))
    return {name: password for name, colon, password in pairs if colon}


@contextmanager
def active_networks(prompt: str) -> Iterator[str]:
    """Load the `<lora:...>` and other networks that the prompt names, unload all others; yields the prompt without.

    Must come before the prompt is encoded, since networks can change the text encoder. Raises InputError for a LoRA
    that is not there, which the hosts only print.
    """
    from modules import extra_networks
    from modules.processing import StableDiffusionProcessingTxt2Img

    (text,), networks = extra_networks.parse_prompts([prompt])
    # Networks read the prompts of the generation that they belong to, and leave notes in it.
    processing = StableDiffusionProcessingTxt2Img()
    processing.prompts = processing.all_prompts = [text]
    processing.seeds = processing.all_seeds = [0]
    processing.subseeds = processing.all_subseeds = [0]
    processing.all_negative_prompts = processing.negative_prompts = [""]
    processing.scripts = None  # other extensions' scripts belong to generations
    try:
        extra_networks.activate(processing, networks)
        loaded = {name for network in _loaded_loras() for name in (network.name, _mentioned(network))}
        named = [parameters.items[0] for parameters in networks.get("lora", ()) if "networks" in sys.modules]
        for name in named:
            if name not in loaded:
                raise InputError(f"The LoRA {name} that the prompt names cannot be loaded; check its name.")
        yield text
    finally:
        extra_networks.deactivate(processing, networks)


def _loaded_loras() -> list[Any]:
    """Of the built-in LoRA extension, whose module has this plain name in both hosts; it may be disabled."""
    return list(getattr(sys.modules.get("networks"), "loaded_networks", ()))


def _mentioned(network: Any) -> Any:
    return getattr(network, "mentioned_name", None)


def network_facts() -> list[Any]:
    """What of the networks that are loaded now decides the numbers, for fingerprints."""
    from modules import shared

    facts: list[Any] = [getattr(shared.opts, "sd_hypernetwork", None)]
    for network in _loaded_loras():
        path = Path(getattr(network.network_on_disk, "filename", ""))
        multipliers = [getattr(network, name, None) for name in ("te_multiplier", "unet_multiplier", "dyn_dim")]
        facts.append((network.name, multipliers, path, file_version(path)))
    return facts


def prompt_at(prompt: str, strength: float) -> str:
    """The prompt as it stands where the edit begins: `[from:to:when]` is resolved. Raises InputError for AND."""
    from modules import prompt_parser

    if re.search(r"\bAND\b", prompt):
        raise InputError("AND combines several prompts, and an edit has one; use one of them.")
    (schedule,) = prompt_parser.get_learned_conditioning_prompt_schedules([prompt], STEPS)
    step = STEPS * (1 - strength) + 1
    return next((text for end, text in schedule if end >= step), schedule[-1][1])


def native_resolution(model: Any, prediction_type: PredictionType, configured: int = 512) -> int:
    """Side in pixels of the pictures that a host's model was made for; configured: what its configuration says.

    The configurations of Stable Diffusion 2.x for 768 px name the same size as those for 512 px; they predict v.
    """
    if getattr(model, "is_sdxl", False):
        return 1024
    return 768 if prediction_type == "v_prediction" and getattr(model, "is_sd2", False) else configured


def schedule(alphas: Tensor, prediction_type: PredictionType, model: Any) -> Tensor:
    """The cumulative alphas that a host's model was trained with: (1000,) float64 on the CPU, from the plain ones.

    A checkpoint that predicts v may have been trained down to pure noise; the host reads that from the file
    (`model.ztsnr`) or is told by its user, who sets it for generations.
    """
    from modules import shared

    alphas = alphas.detach().clone().to("cpu", torch.float64)
    told = getattr(shared.opts, "sd_noise_schedule", None) == ZERO_TERMINAL
    # Noise cannot be predicted from pure noise; with the setting left on, such a model's own schedule is the plain one.
    if prediction_type == "v_prediction" and (told or getattr(model, "ztsnr", False)):
        return zero_terminal(alphas)
    return alphas


def sized(text: str, size: tuple[int, int] | None, negative: bool = False) -> Any:
    """One prompt as the hosts' text encoders take it. size: (height, width) in pixels, which SDXL is told; negative:
    whether it is a negative prompt, in whose place SDXL takes zeros where it is empty.
    """
    from modules import prompt_parser

    if size is None and not negative:
        return [text]
    width, height = (None, None) if size is None else (size[1], size[0])
    return prompt_parser.SdConditioning([text], is_negative_prompt=negative, width=width, height=height)


def setting_facts() -> list[Any]:
    """What of the host's settings decides the numbers in all hosts, for fingerprints."""
    from modules import shared

    return [getattr(shared.opts, name, None) for name in MODEL_SETTINGS]


def conditioning_of(encoded: Any, chunks: list[Any], end: int, device: torch.device) -> Conditioning:
    """A host's conditioning as the SDK's.

    encoded: tokens (1, 77 k, D), or with SDXL those as "crossattn", and as "vector" (1, V) what is fixed: the pooled
    text beside the sizes; chunks: the k chunks' tokens; end: the end token; device: where all of it goes.

    The hosts cut long prompts into chunks of 75 tokens, each with a start and an end; all of it up to the last prompt
    token counts as the prompt's content.
    """

    def own(tensor: Tensor) -> Tensor:
        return tensor.detach().to(device).float().clone()

    fixed = {}
    if isinstance(encoded, Mapping):
        fixed = {VECTOR: own(encoded[VECTOR])}
        encoded = encoded["crossattn"]
    last = list(chunks[-1])
    length = last.index(end) if end in last else len(last)
    content = min(CHUNK * (len(chunks) - 1) + length, encoded.shape[1])
    return Conditioning(own(encoded), content, fixed)


def file_version(path: Path) -> str:
    """Changes when the file does; empty where it cannot be seen."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns}"
