"""3x3 convolutions with frozen float32 weights on the CPU, faster than torch's.

torch multiplies directly there and orders the weights anew at each call: a wide layer on a small map spends most of
its time on that. Here large maps go through Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, arXiv
1509.09308), which needs a quarter of the multiplications, and small ones through one matrix product. Both are the
same convolution up to rounding (less than 1e-4 of the values' spread) and differentiable in the map.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

TILE, WINDOW = 4, 6  # side of a tile of the output, and of the input that it depends on
# Measured with two threads of an AVX2 CPU. From how many tiles and pairs of channels the transforms pay, and up to how
# many pairs their memory is spent: 144 bytes each.
LEAST_TILES, LEAST_PAIRS, MOST_PAIRS = 64, 192 * 192, 1280 * 1280
# Up to how many positions, and from how many pairs, ordering the weights takes longer than copying out the windows.
MOST_POSITIONS, WIDE_PAIRS = 512, 1280 * 640


def _both_axes(*matrix: tuple[float, ...]) -> Tensor:
    """What does to a flattened square that `matrix` does to its columns and to its rows."""
    # By way of numpy, to be on the CPU whatever torch's default device is.
    return torch.from_numpy(np.kron(matrix, matrix).astype(np.float32))


def _tiles(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover a map."""
    return -(-height // TILE), -(-width // TILE)


# Interpolation at 0, 1, -1, 2, -2 and infinity.
FROM_INPUT = _both_axes(
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)  # (36, 36)
FROM_WEIGHT = _both_axes(
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)  # (36, 9)
TO_OUTPUT = _both_axes(
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)  # (16, 36)


class Winograd(torch.autograd.Function):
    """Convolution, padded by one, of a map (n, in, h, w) with a weight from `transform`, to (n, out, h, w)."""

    @staticmethod
    def transform(weight: Tensor) -> Tensor:
        """(36, out, in) from (out, in, 3, 3)."""
        # In inference mode the result could not be kept for a later backward pass.
        with torch.inference_mode(False):
            return (FROM_WEIGHT @ weight.detach().reshape(-1, 9).t()).view(WINDOW**2, *weight.shape[:2])

    @staticmethod
    def forward(ctx: Any, values: Tensor, transformed: Tensor) -> Tensor:
        ctx.save_for_backward(transformed)
        ctx.shape = count, channels, height, width = values.shape
        rows, cols = _tiles(height, width)
        # One row of zeros in front of the first tile, and behind the last one what completes its window.
        padded = functional.pad(values, (1, cols * TILE - width + 1, 1, rows * TILE - height + 1))
        windows = padded.unfold(2, WINDOW, TILE).unfold(3, WINDOW, TILE).permute(4, 5, 1, 0, 2, 3)
        windows = FROM_INPUT @ windows.reshape(WINDOW**2, -1)
        products = transformed @ windows.view(WINDOW**2, channels, -1)
        tiles = TO_OUTPUT @ products.view(WINDOW**2, -1)
        tiles = tiles.view(TILE, TILE, -1, count, rows, cols).permute(3, 2, 4, 0, 5, 1)
        return tiles.reshape(count, -1, rows * TILE, cols * TILE)[..., :height, :width]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The steps of `forward` in opposite order, each transposed.
        (transformed,) = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        rows, cols = _tiles(height, width)
        gradient = functional.pad(gradient, (0, cols * TILE - width, 0, rows * TILE - height))
        tiles = gradient.reshape(count, -1, rows, TILE, cols, TILE).permute(3, 5, 1, 0, 2, 4)
        products = TO_OUTPUT.t() @ tiles.reshape(TILE**2, -1)
        windows = transformed.transpose(1, 2) @ products.view(WINDOW**2, -1, count * rows * cols)
        windows = FROM_INPUT.t() @ windows.view(WINDOW**2, -1)
        windows = windows.view(WINDOW, WINDOW, channels, count, rows, cols)
        # The last two rows and columns of a window are the first two of the next one.
        total = windows.new_zeros(TILE, TILE, channels, count, rows + 1, cols + 1)
        over = WINDOW - TILE
        total[..., :-1, :-1] = windows[:TILE, :TILE]
        total[:over, :, ..., 1:, :-1] += windows[TILE:, :TILE]
        total[:, :over, ..., :-1, 1:] += windows[:TILE, TILE:]
        total[:over, :over, ..., 1:, 1:] += windows[TILE:, TILE:]
        total = total.permute(3, 2, 4, 0, 5, 1).reshape(count, channels, (rows + 1) * TILE, (cols + 1) * TILE)
        return total[..., 1 : height + 1, 1 : width + 1], None


class Product(torch.autograd.Function):
    """Convolution, padded by one, of a map (n, in, h, w) with a weight (out, in, 3, 3), to (n, out, h, w)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size = values.shape[2:]
        columns = functional.unfold(values, 3, padding=1)
        return (weight.flatten(1) @ columns).view(len(values), -1, *ctx.size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        columns = weight.flatten(1).t() @ gradient.flatten(2)
        return functional.fold(columns, ctx.size, 3, padding=1), None


class FastConvolutions(TorchFunctionMode):
    """A context in which this thread's convolutions go the faster way where there is one.

    The modules that ask for them are not touched. Transformed weights are kept here while the weights live, and made
    again when those change: 1.2 GiB for Stable Diffusion's U-Net at 512 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.conv2d and not kwargs:
            result = self._convolve(*args)
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))

    def _convolve(
        self,
        values: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """None where torch's own way is as good, or the only one."""
        if (weight.shape[2:], stride, padding, dilation, groups) != ((3, 3), (1, 1), (1, 1), (1, 1), 1):
            return None
        if values.device.type != "cpu" or {values.dtype, weight.dtype} != {torch.float32}:
            return None
        if values.dim() != 4 or weight.requires_grad or weight.is_inference():
            return None
        count, _, height, width = values.shape
        rows, cols = _tiles(height, width)
        pairs = weight.shape[0] * weight.shape[1]
        if rows * cols >= LEAST_TILES and LEAST_PAIRS <= pairs <= MOST_PAIRS:
            result = Winograd.apply(values, self._transformed(weight))
        elif count * height * width <= MOST_POSITIONS and pairs >= WIDE_PAIRS:
            result = Product.apply(values, weight)
        else:
            return None
        return result if bias is None else result + bias[:, None, None]

    def _transformed(self, weight: Tensor) -> Tensor:
        kept = self._kept.get(weight)
        if kept is not None and kept[0] == weight._version:
            return kept[1]
        transformed = Winograd.transform(weight)
        self._kept[weight] = weight._version, transformed
        return transformed


def convolutions_kept(network: nn.Module) -> int:
    """Bytes of the transformed weights, where every map is large enough for them."""
    if not isinstance(fast_convolutions(network), FastConvolutions):
        return 0
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    pairs = [layer.in_channels * layer.out_channels for layer in layers if layer.stride == (1, 1)]
    return sum(4 * WINDOW**2 * count for count in pairs if LEAST_PAIRS <= count <= MOST_PAIRS)


def fast_convolutions(network: nn.Module) -> AbstractContextManager:
    """`FastConvolutions` if any convolution of the network may gain from it, else a context that does nothing.

    To watch costs a little at every call into torch, which a small network would feel.
    """
    gains = any(
        isinstance(module, nn.Conv2d)
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
        and module.in_channels * module.out_channels >= LEAST_PAIRS
        for module in network.modules()
    )
    return FastConvolutions() if gains else nullcontext()
