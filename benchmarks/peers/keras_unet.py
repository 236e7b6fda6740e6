"""Both networks in Keras on TensorFlow: the same layers, the train step in one tf.function."""

import os
from typing import Any, Callable

os.environ.setdefault("KERAS_BACKEND", "tensorflow")    # read when Keras is imported

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402


def build(name: str, shape: tuple[int, ...], *, outputs: int, widths: tuple[int, ...],
          dropout: float) -> keras.Model:
    """Return the network that has the same layers as ours of this name, for inputs [B, T, F, C]."""
    inputs = keras.Input(shape[1:], batch_size=shape[0])
    network, halvings = {"unet": (_unet, len(widths) - 1), "strided": (_strided, len(widths))}[name]
    # As ours: sizes that cannot be halved often enough are padded.
    missing = tuple((0, -size % 2 ** halvings) for size in shape[1:3])
    x = layers.ZeroPadding2D(missing)(inputs)
    y = network(x, outputs=outputs, widths=widths, dropout=dropout)
    return keras.Model(inputs, layers.Cropping2D(missing)(y))


def make_step(
    name: str, shape: tuple[int, ...], *, outputs: int, widths: tuple[int, ...],
    dropout: float, threads: int, inference: bool = False,
) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that does one train step, or one inference, and what is to be known of it."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(0)
    network = build(name, shape, outputs=outputs, widths=widths, dropout=dropout)
    x_BTFC = tf.random.uniform(shape)
    y_BTFK = tf.random.uniform((*shape[:3], outputs))
    optimiser = keras.optimizers.AdamW(1e-3, weight_decay=1e-6)
    optimiser.build(network.trainable_variables)

    @tf.function
    def infer() -> tf.Tensor:
        return network(x_BTFC, training=False)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            y = network(x_BTFC, training=True)
            loss = tf.reduce_mean(tf.abs(tf.nn.relu(y) - y_BTFK))
        gradient = tape.gradient(loss, network.trainable_variables)
        optimiser.apply(gradient)
        return loss

    chosen = infer if inference else step

    def call() -> None:
        chosen().numpy()        # which waits

    return call, {}


def _unet(x: Any, *, outputs: int, widths: tuple[int, ...], dropout: float) -> Any:
    skips = []
    for width in widths[:-1]:
        x = _convs(x, width)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _convs(x, widths[-1])
    for width in widths[-2::-1]:
        x = layers.Dropout(dropout)(layers.ReLU()(_norm(_up(x, width))))
        x = _convs(layers.Concatenate()([x, skips.pop()]), width)
    return layers.Conv2D(outputs, 1, use_bias=False)(x)


def _strided(x: Any, *, outputs: int, widths: tuple[int, ...], dropout: float) -> Any:
    skips = []
    for width in widths:
        x = layers.Conv2D(width, 5, 2, "same", use_bias=False)(x)
        x = layers.LeakyReLU(0.2)(_norm(x))
        skips.append(x)
    skips.pop()
    for level, width in enumerate(widths[-2::-1]):
        x = layers.ReLU()(_norm(_up(x, width)))
        x = layers.Dropout(dropout)(x) if level < 3 else x
        x = layers.Concatenate()([x, skips.pop()])
    return _up(x, outputs, bias=True)


def _convs(x: Any, width: int) -> Any:
    for _ in range(2):
        x = layers.ReLU()(_norm(layers.Conv2D(width, 3, padding="same", use_bias=False)(x)))
    return x


def _up(x: Any, width: int, *, bias: bool = False) -> Any:
    return layers.Conv2DTranspose(width, 5, 2, "same", use_bias=bias)(x)


def _norm(x: Any) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-5)(x)
