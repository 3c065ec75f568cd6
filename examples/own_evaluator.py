"""Train the children your own way, and put your own model beside the best.

Run it with ``python examples/own_evaluator.py``; the run lies in ``checkpoints/`` afterwards.
"""

import keras
import numpy as np

import rlnas

TRIALS, EPOCHS, NOISE, SEED = 2, 2, 1.0, 7  # tiny, so that it takes seconds: give it more


def evaluate(model: keras.Model, data: rlnas.Data, seed: int) -> float:
    """Train a child on noisy pixels; return its validation accuracy, the reward."""
    noise = np.random.default_rng(seed).normal(0, NOISE, data.x_train.shape)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.x_train + noise, data.y_train, epochs=EPOCHS, verbose=0)
    return float(model.evaluate(data.x_val, data.y_val, verbose=0)[1])


def my_model() -> keras.Model:
    """Return a plain dense network for the 8 x 8 digits, to compare the search with."""
    layers = keras.layers
    body = [layers.Rescaling(1 / 16), layers.Flatten(), layers.Dense(32, activation="relu")]
    head = layers.Dense(10, activation="softmax")
    return keras.Sequential([keras.Input((8, 8, 1)), *body, head])


def main() -> None:
    """Search with both and print how the best compares."""
    own = {"evaluator": evaluate, "baseline": my_model()}
    result = rlnas.Search("digits", **own, trials=TRIALS, top_k=1, seed=SEED).run()
    found = result.to_json()
    for name in ("best", "reference", "baseline"):  # the baseline is your model
        print(f"{name}: {found[name]['test_accuracy']:.3f}, {found[name]['params']} weights")


if __name__ == "__main__":
    main()
