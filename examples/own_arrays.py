"""Search on arrays of your own, and read what came out.

Run it with ``python examples/own_arrays.py``; the run lies in ``checkpoints/`` afterwards.
"""

from sklearn.datasets import load_digits

import rlnas

TRIALS, EPOCHS, EXAMPLES = 3, 2, 600  # tiny, so that it takes seconds: give it more


def main() -> None:
    """Search, then print the trials, the best and what its model predicts."""
    digits = load_digits()
    x, y = digits.images[:EXAMPLES], digits.target[:EXAMPLES]
    search = rlnas.Search(
        data=(x, y), trials=TRIALS, epochs=EPOCHS, top_k=1, final_epochs=2 * EPOCHS, seed=1
    )
    result = search.run()

    for trial in result.trials:
        earned = trial.reason if trial.reward is None else f"reward {trial.reward:.3f}"
        print(f"trial {trial.id}: {earned}, {trial.key}")
    print(f"best architecture: {result.best.layers}")
    print(f"test accuracy: {result.best.test_accuracy:.3f}")
    print(f"plain Keras JSON of it: {result.best.architecture}")

    probabilities = result.model.predict(x[:8], verbose=0)  # raw pixels, as they came
    print(f"it takes the first eight for {probabilities.argmax(axis=1)}, they are {y[:8]}")


if __name__ == "__main__":
    main()
