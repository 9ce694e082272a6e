"""3x3 convolutions with frozen float32 weights, on the CPU, faster than the library's.

torch's kernel for the CPU multiplies directly, and puts the weights into another order on each call: a wide layer on a
small map spends most of its time on that. Here large maps go through Winograd's minimal filtering F(4x4, 3x3) (Lavin and
Gray 2016, arXiv 1509.09308), which takes a quarter of the multiplications, and small ones through one matrix product.
Both are the same convolution up to rounding (about 1e-5 of the values' size) and have gradients for the map only.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

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
# Up to how many positions, from how many pairs, ordering the weights takes longer than copying out the windows.
MOST_POSITIONS, WIDE_PAIRS = 512, 1280 * 640

# Interpolation at 0, 1, -1, 2, -2 and infinity; the columns of `_OUTPUT` are the points' powers.
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_WEIGHT = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def _both_axes(matrix: tuple) -> Tensor:
    """The transform of a flattened square that applies `matrix` to its rows and columns."""
    one_axis = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one_axis, one_axis).float()


class Winograd(torch.autograd.Function):
    """3x3 convolution with one row of zeros around, of (n, c, h, w) with what `transform_weight` gives."""

    to_input = _both_axes(_INPUT)  # (36, 36)
    to_weight = _both_axes(_WEIGHT)  # (36, 9)
    to_output = _both_axes(_OUTPUT)  # (16, 36)

    @classmethod
    def transform_weight(cls, weight: Tensor) -> Tensor:
        """(36, out, in) from (out, in, 3, 3)."""
        pairs = weight.detach().reshape(-1, 9)
        return (cls.to_weight @ pairs.t()).view(WINDOW**2, *weight.shape[:2])

    @classmethod
    def forward(cls, ctx: Any, values: Tensor, transformed: Tensor) -> Tensor:
        ctx.save_for_backward(transformed)
        count, channels, height, width = ctx.shape = values.shape
        rows, cols = -(-height // TILE), -(-width // TILE)
        surplus = WINDOW - TILE - 1  # behind the last tile; in front of the first is one row of zeros
        padding = (1, cols * TILE - width + surplus, 1, rows * TILE - height + surplus)
        padded = functional.pad(values, padding)
        windows = padded.unfold(2, WINDOW, TILE).unfold(3, WINDOW, TILE).permute(4, 5, 1, 0, 2, 3)
        windows = cls.to_input @ windows.reshape(WINDOW**2, -1)
        products = transformed @ windows.view(WINDOW**2, channels, -1)
        tiles = (cls.to_output @ products.view(WINDOW**2, -1)).view(TILE, TILE, -1, count, rows, cols)
        return tiles.permute(3, 2, 4, 0, 5, 1).reshape(count, -1, rows * TILE, cols * TILE)[..., :height, :width]

    @classmethod
    @once_differentiable
    def backward(cls, ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Every step of `forward`, transposed, in the opposite order.
        (transformed,) = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        rows, cols = -(-height // TILE), -(-width // TILE)
        gradient = functional.pad(gradient, (0, cols * TILE - width, 0, rows * TILE - height))
        tiles = gradient.reshape(count, -1, rows, TILE, cols, TILE).permute(3, 5, 1, 0, 2, 4)
        products = cls.to_output.t() @ tiles.reshape(TILE**2, -1)
        windows = transformed.transpose(1, 2) @ products.view(WINDOW**2, transformed.shape[1], -1)
        windows = cls.to_input.t() @ windows.view(WINDOW**2, -1)
        windows = windows.view(WINDOW, WINDOW, channels, count, rows, cols)
        # Windows overlap: the last two rows (columns) of one are the first two of the next.
        total = windows.new_zeros(TILE, TILE, channels, count, rows + 1, cols + 1)
        over = WINDOW - TILE
        total[..., :-1, :-1] = windows[:TILE, :TILE]
        total[:over, :, ..., 1:, :-1] += windows[TILE:, :TILE]
        total[:, :over, ..., :-1, 1:] += windows[:TILE, TILE:]
        total[:over, :over, ..., 1:, 1:] += windows[TILE:, TILE:]
        total = total.permute(3, 2, 4, 0, 5, 1).reshape(count, channels, (rows + 1) * TILE, (cols + 1) * TILE)
        return total[..., 1 : height + 1, 1 : width + 1], None


class Product(torch.autograd.Function):
    """3x3 convolution with one row of zeros around, of (n, c, h, w) with (out, in, 3, 3), as one matrix product."""

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
    """A context in which this thread's convolutions take the faster way wherever there is one.

    The modules that call them are not touched. Transformed weights are kept here for as long as the weights live, and
    made again when those change: 1.2 GiB for Stable Diffusion's U-Net at 512 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

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
        """The convolution, or None where torch's own is as good or the only one."""
        suits = values.device.type == "cpu" and values.dtype == weight.dtype == torch.float32 and values.dim() == 4
        geometry = weight.shape[2:], stride, padding, dilation, groups
        if not suits or geometry != ((3, 3), (1, 1), (1, 1), (1, 1), 1) or weight.requires_grad:
            return None
        count, _, height, width = values.shape
        pairs = weight.shape[0] * weight.shape[1]
        tiles = -(-height // TILE) * -(-width // TILE)
        if tiles >= LEAST_TILES and LEAST_PAIRS <= pairs <= MOST_PAIRS:
            result = Winograd.apply(values, self._transformed(weight))
        elif count * height * width <= MOST_POSITIONS and pairs >= WIDE_PAIRS:
            result = Product.apply(values, weight)
        else:
            return None
        return result if bias is None else result + bias[:, None, None]

    def _transformed(self, weight: Tensor) -> Tensor:
        version, transformed = self._kept.get(weight, (None, None))
        if version != weight._version:
            transformed = Winograd.transform_weight(weight)
            self._kept[weight] = weight._version, transformed
        return transformed


def fast_convolutions(network: nn.Module) -> AbstractContextManager:
    """`FastConvolutions` if any of the network's convolutions gains from it, else a context that does nothing.

    Watching costs a little at every call into torch, which a small network would feel.
    """
    gains = any(
        isinstance(module, nn.Conv2d)
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
        and module.in_channels * module.out_channels >= LEAST_PAIRS
        for module in network.modules()
    )
    return FastConvolutions() if gains else nullcontext()
