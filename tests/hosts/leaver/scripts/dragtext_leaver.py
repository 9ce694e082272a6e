"""An extension for tests only: it leaves on the WebUI's model what ControlNet leaves there, on request.

Link or copy `tests/hosts/leaver` into its `extensions`; POST /dragtext-leaver/leave, then /dragtext-leaver/clear.
"""

from modules import script_callbacks, shared

hidden = {}


def unet():
    model = shared.sd_model
    objects = getattr(model, "forge_objects", None)
    return model.model.diffusion_model if objects is None else objects.unet.model.diffusion_model


def leave():
    """A forward of its own on the U-Net, on its blocks and in its transformers, as after a generation that failed."""
    module = unet()
    original = type(module).forward

    def controlled(self, *args, **kwargs):
        return original(self, *args, **kwargs) * 0.9

    hidden[module] = ("forward",)
    module.forward = controlled.__get__(module)
    for block in [module.middle_block, *module.input_blocks, *module.output_blocks]:
        hidden[block] = ("forward",)
        block.forward = block.forward
    for part in module.modules():
        if type(part).__name__ == "BasicTransformerBlock":
            hidden[part] = ("_forward",)
            part._forward = part._forward
    return {"left": len(hidden)}


def clear():
    found = sum(name in vars(module) for module, names in hidden.items() for name in names)
    for module, names in hidden.items():
        for name in names:
            vars(module).pop(name, None)
    hidden.clear()
    return {"found": found}


def add_routes(_page, app):
    app.add_api_route("/dragtext-leaver/leave", leave, methods=["POST"])
    app.add_api_route("/dragtext-leaver/clear", clear, methods=["POST"])


script_callbacks.on_app_started(add_routes)
