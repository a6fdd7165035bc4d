"""Conv1D, Conv2D, DepthwiseConv2D, Conv1DTranspose, Conv2DTranspose, SeparableConv2D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .. import _core, initializers
from .._names import whole
from ..variables import WeightSpec
from .activation import MAP_OPS, Activating, activate, operator_of
from .spatial import (
    FORMATS,
    as_pair,
    channels_of,
    check_input,
    choice,
    from_image,
    same_padding,
    sizes,
    to_image,
)

if TYPE_CHECKING:
    from .base import Shape


class _Conv(Activating):
    """A convolution over `rank` axes; `kernel_shape` and `groups_of` say which."""

    rank: ClassVar[int]
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")
    kernel_name: ClassVar[str] = "kernel"

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(activation, **keywords)
        self.kernel_size = sizes("kernel_size", kernel_size, self.rank)
        self.strides = sizes("strides", strides, self.rank)
        self.padding = choice("padding", padding, self.paddings)
        self.data_format = choice("data_format", data_format or FORMATS[0], FORMATS)
        self.dilation_rate = sizes("dilation_rate", dilation_rate, self.rank)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"strides {self.strides} and dilation_rate {self.dilation_rate}: only one of "
                "them may be over 1"
            )

    # ---- what subclasses define ----

    def groups_of(self, channels: int) -> int:
        return 1

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        raise NotImplementedError

    def filters_of(self, channels: int) -> int:
        raise NotImplementedError

    # ---- ----

    @property
    def _first(self) -> bool:
        return self.data_format == "channels_first"

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        self.compute_output_shape(input_shape)
        channels = channels_of(input_shape, self._first)
        kernel = WeightSpec(self.kernel_name, self.kernel_shape(channels), self.kernel_initializer)
        bias = WeightSpec("bias", (self.filters_of(channels),), self.bias_initializer)
        return [kernel, bias] if self.use_bias else [kernel]

    def _padding(self, pixels: tuple[int, ...]) -> tuple[int, ...]:
        """Zeros before and after each axis of the input."""
        found: tuple[int, ...] = ()
        spread = [
            (k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)
        ]
        for n, k, s in zip(pixels, spread, self.strides, strict=True):
            if self.padding == "same":
                found += same_padding(n, k, s)
            else:
                found += (k - 1, 0) if self.padding == "causal" else (0, 0)
        return found

    def call(self, x: Any, training: bool = False) -> Any:
        channels = channels_of(x.shape, self._first)
        check_input(self.name, x.shape, self.rank, self._first)
        image = to_image(x, self.rank, self._first)
        kernel, *bias = self._weights
        wide = (*as_pair(self.kernel_size), channels // self.groups_of(channels), -1)
        if kernel.shape != (*wide[:3], self.filters_of(channels)):
            kernel = _core.apply("reshape", (kernel,), {"shape": wide})
        attrs: dict[str, Any] = {
            "strides": as_pair(self.strides),
            "dilation": as_pair(self.dilation_rate),
            "padding": (0, 0)[: 4 - 2 * self.rank] + self._padding(self._pixels(x.shape)),
            "groups": self.groups_of(channels),
        }
        fused = operator_of(self.activation)
        if fused in MAP_OPS and fused != "sigmoid":  # a sigmoid's logits are wanted by losses
            attrs["activation"] = fused
        y = from_image(_core.apply("conv2d", (image, kernel, *bias), attrs), self.rank, self._first)
        return y if "activation" in attrs else activate(y, self.activation)

    def _pixels(self, shape: Shape) -> tuple[int, ...]:
        part = shape[2:] if self._first else shape[1:-1]
        return tuple(int(n or 0) for n in part)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_input(self.name, input_shape, self.rank, self._first)
        channels = channels_of(input_shape, self._first)
        groups, filters = self.groups_of(channels), self.filters_of(channels)
        if channels % groups or filters % groups:
            raise ValueError(
                f"layer {self.name!r}: {channels} channels and {filters} filters cannot be cut "
                f"into {groups} groups; groups must divide both"
            )
        pixels = self._pixels(input_shape)
        padding, out = self._padding(pixels), []
        for i, n in enumerate(pixels):
            spread = (self.kernel_size[i] - 1) * self.dilation_rate[i] + 1
            room = n + padding[2 * i] + padding[2 * i + 1] - spread
            if room < 0:
                raise ValueError(
                    f"layer {self.name!r}: a kernel of {self.kernel_size} with dilation "
                    f"{self.dilation_rate} is larger than inputs of shape {input_shape}; use a "
                    'smaller kernel or padding="same"'
                )
            out.append(room // self.strides[i] + 1)
        shape = (filters, *out) if self._first else (*out, filters)
        return (input_shape[0], *shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": config.pop("activation"),
            "use_bias": self.use_bias,
            f"{self.kernel_name}_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            **config,
        }


class _Filters(_Conv):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **keywords: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            kernel_initializer, bias_initializer, **keywords,
        )  # fmt: skip
        self.filters = whole("filters", filters, 1)
        self.groups = whole("groups", groups, 1)
        if self.filters % self.groups:
            raise ValueError(f"groups must divide filters, got {groups} and {filters}")

    def groups_of(self, channels: int) -> int:
        return self.groups

    def filters_of(self, channels: int) -> int:
        return self.filters

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels // self.groups, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {"filters": self.filters, "groups": self.groups, **super().get_config()}


class Conv2D(_Filters):
    """activation(x * kernel + bias), * being cross-correlation over height and width:

        y[b, i, j, o] = sum over u, v, c of
                        x[b, i s + u d, j s + v d, c] kernel[u, v, c, o] + bias[o]

    for stride s and dilation d. x (batch, height, width, channels) gives (batch, new height,
    new width, filters); kernel (height, width, channels / groups, filters), bias (filters,).
    padding: "valid" stays inside the image, "same" puts zeros around it so that ceil(size /
    stride) results come out. data_format: "channels_first" for (batch, channels, height,
    width), on both sides. groups: filters of a group see the channels of that group alone.

    Raises ValueError or TypeError for arguments that cannot be, when it is made or, for the
    shape of x (a kernel larger than the image), when it is first used.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.

    >>> Conv2D(6, 5, padding="same")(np.ones((2, 28, 28, 1))).shape
    (2, 28, 28, 6)
    """

    rank = 2


class Conv1D(_Filters):
    """Conv2D along one axis: x (batch, steps, channels) gives (batch, new steps, filters);
    kernel (size, channels / groups, filters).

    padding: "causal" also: zeros in front, so that step t sees no later one.

    >>> Conv1D(4, 3, padding="causal")(np.ones((2, 10, 5))).shape
    (2, 10, 4)
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class DepthwiseConv2D(_Conv):
    """Every channel convolved with `depth_multiplier` kernels of its own.

    x (batch, height, width, channels) gives (batch, new height, new width, channels *
    depth_multiplier), the results of a channel side by side; kernel (height, width, channels,
    depth_multiplier). Padding, strides, data_format and errors as in Conv2D.

    >>> DepthwiseConv2D(3, depth_multiplier=2)(np.ones((1, 8, 8, 3))).shape
    (1, 6, 6, 6)
    """

    rank = 2
    kernel_name = "depthwise"

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **keywords: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            depthwise_initializer, bias_initializer, **keywords,
        )  # fmt: skip
        self.depth_multiplier = whole("depth_multiplier", depth_multiplier, 1)

    def groups_of(self, channels: int) -> int:
        return channels

    def filters_of(self, channels: int) -> int:
        return channels * self.depth_multiplier

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, self.depth_multiplier)

    def get_config(self) -> dict[str, Any]:
        return {"depth_multiplier": self.depth_multiplier, **super().get_config()}


class _Transposed(_Conv):
    """A convolution's gradient as a layer of its own."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **keywords: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            kernel_initializer, bias_initializer, **keywords,
        )  # fmt: skip
        self.filters = whole("filters", filters, 1)
        self.output_padding: tuple[int, ...] | None = None
        if output_padding is not None:
            given = (output_padding,) * self.rank if hasattr(output_padding, "__index__") else (
                tuple(output_padding))  # fmt: skip
            self.output_padding = tuple(whole("output_padding", n, 0) for n in given)
            pairs = zip(self.output_padding, self.strides, strict=False)
            if len(given) != self.rank or any(p >= s for p, s in pairs):
                raise ValueError(
                    f"output_padding: got {output_padding!r}, expected {self.rank} numbers, each "
                    f"less than its stride, {self.strides}"
                )

    def filters_of(self, channels: int) -> int:
        return self.filters

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, self.filters, channels)

    def _sizes(self, pixels: tuple[int, ...]) -> tuple[list[int], tuple[int, ...]]:
        """The result's pixels, and what is cut off before and after each axis."""
        out: list[int] = []
        cut: tuple[int, ...] = ()
        for i, n in enumerate(pixels):
            s = self.strides[i]
            spread = (self.kernel_size[i] - 1) * self.dilation_rate[i] + 1
            if self.output_padding is not None:
                inside = 2 * (spread // 2) if self.padding == "same" else 0
                size = (n - 1) * s + spread - inside + self.output_padding[i]
            else:
                size = n * s + (0 if self.padding == "same" else max(spread - s, 0))
            total = max((n - 1) * s + spread - size, 0)
            out.append(size)
            cut += (total // 2, total - total // 2)
        return out, cut

    def call(self, x: Any, training: bool = False) -> Any:
        check_input(self.name, x.shape, self.rank, self._first)
        image = to_image(x, self.rank, self._first)
        kernel, *bias = self._weights
        if self.rank == 1:
            kernel = _core.apply("reshape", (kernel,), {"shape": (1, *kernel.shape)})
        out, cut = self._sizes(self._pixels(x.shape))
        attrs = {
            "strides": as_pair(self.strides),
            "dilation": as_pair(self.dilation_rate),
            "padding": (0, 0)[: 4 - 2 * self.rank] + cut,
            "size": as_pair(tuple(out)),
        }
        y = _core.apply("conv2d_transpose", (image, kernel), attrs)
        for b in bias:
            y = _core.apply("add", (y, b))
        return activate(from_image(y, self.rank, self._first), self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_input(self.name, input_shape, self.rank, self._first)
        out, _ = self._sizes(self._pixels(input_shape))
        if min(out) < 1:
            raise ValueError(
                f"layer {self.name!r}: inputs of shape {input_shape} give results of {out} pixels"
            )
        shape = (self.filters, *out) if self._first else (*out, self.filters)
        return (input_shape[0], *shape)

    def get_config(self) -> dict[str, Any]:
        padding = None if self.output_padding is None else list(self.output_padding)
        return {"filters": self.filters, "output_padding": padding, **super().get_config()}


class Conv2DTranspose(_Transposed):
    """activation(y + bias), y being such that a Conv2D of these sizes has it as the gradient
    with respect to its images, when x is that of its results: every pixel of x puts the
    kernel, times itself, into y,

        y[b, i s + u d, j s + v d, c] += x[b, i, j, o] kernel[u, v, c, o]

    for stride s and dilation d. x (batch, height, width, channels) gives (batch, new height,
    new width, filters); kernel (height, width, filters, channels), bias (filters,). padding:
    "valid" keeps all of y, size n s + max(k - s, 0) for n pixels and a kernel of k, "same"
    its middle, n s. output_padding, less than the stride: the size is (n - 1) s + k, less
    2 (k // 2) for "same", plus this. data_format as in Conv2D.

    Raises ValueError or TypeError for arguments that cannot be, when it is made or, for the
    shape of x, when it is first used.

    Source: Zeiler et al., Deconvolutional networks, CVPR 2010.

    >>> Conv2DTranspose(6, 3, strides=2, padding="same")(np.ones((2, 7, 7, 4))).shape
    (2, 14, 14, 6)
    """

    rank = 2


class Conv1DTranspose(_Transposed):
    """Conv2DTranspose along one axis: x (batch, steps, channels) gives (batch, new steps,
    filters); kernel (size, filters, channels).

    >>> Conv1DTranspose(4, 3, strides=2)(np.ones((2, 10, 5))).shape
    (2, 21, 4)
    """

    rank = 1


class SeparableConv2D(_Conv):
    """A DepthwiseConv2D, then a Conv2D of one pixel that mixes its channels:
    activation((x * depthwise_kernel) * pointwise_kernel + bias).

    x (batch, height, width, channels) gives (batch, new height, new width, filters);
    depthwise_kernel (height, width, channels, depth_multiplier), pointwise_kernel (1, 1,
    channels * depth_multiplier, filters). Padding, strides, data_format and errors as in
    Conv2D.

    Source: Chollet, Xception, CVPR 2017.

    >>> SeparableConv2D(5, 3)(np.ones((1, 8, 8, 3))).shape
    (1, 6, 6, 5)
    """

    rank = 2
    kernel_name = "depthwise"

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **keywords: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            depthwise_initializer, bias_initializer, **keywords,
        )  # fmt: skip
        self.filters = whole("filters", filters, 1)
        self.depth_multiplier = whole("depth_multiplier", depth_multiplier, 1)
        self.pointwise_initializer = initializers.get(pointwise_initializer)

    def groups_of(self, channels: int) -> int:
        return channels

    def filters_of(self, channels: int) -> int:
        return channels * self.depth_multiplier

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        self.compute_output_shape(input_shape)
        channels = channels_of(input_shape, self._first)
        depthwise = (*self.kernel_size, channels, self.depth_multiplier)
        mixed = (1, 1, self.filters_of(channels), self.filters)
        specs = [
            WeightSpec("depthwise_kernel", depthwise, self.kernel_initializer),
            WeightSpec("pointwise_kernel", mixed, self.pointwise_initializer),
        ]
        bias = WeightSpec("bias", (self.filters,), self.bias_initializer)
        return [*specs, bias] if self.use_bias else specs

    def call(self, x: Any, training: bool = False) -> Any:
        check_input(self.name, x.shape, self.rank, self._first)
        channels = channels_of(x.shape, self._first)
        depthwise, pointwise, *bias = self._weights
        wide = (*self.kernel_size, 1, self.filters_of(channels))
        attrs: dict[str, Any] = {
            "strides": self.strides,
            "dilation": self.dilation_rate,
            "padding": self._padding(self._pixels(x.shape)),
            "groups": channels,
        }
        y = to_image(x, self.rank, self._first)
        y = _core.apply("conv2d", (y, _core.apply("reshape", (depthwise,), {"shape": wide})), attrs)
        y = from_image(_core.apply("conv2d", (y, pointwise, *bias)), self.rank, self._first)
        return activate(y, self.activation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = super().compute_output_shape(input_shape)
        if self._first:
            return (shape[0], self.filters, *shape[2:])
        return (*shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "depth_multiplier": self.depth_multiplier,
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
            **super().get_config(),
        }
