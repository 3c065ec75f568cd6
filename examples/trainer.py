"""A trainer for `rlnas serve` without rlnas: asks for networks, tells how good they are.

python examples/trainer.py http://127.0.0.1:8420 my-search
"""

import json
import os
import sys
import time

import keras
import requests
from sklearn.datasets import load_digits

server, search = sys.argv[1:]
api = f"{server}/v1/searches/{search}/trials"
http = requests.Session()
http.headers["Authorization"] = f"Bearer {os.environ.get('RLNAS_TOKEN', '')}"
digits = load_digits()
x, y = digits.images[..., None] / 16, digits.target


def post(address, **body):
    """Send JSON, and return the answer's."""
    answer = http.post(address, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def train(trial):
    """Train a network as long as the server wants to."""
    keras.utils.set_random_seed(trial["seed"])
    model = keras.models.model_from_json(json.dumps(trial["architecture"]))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for epoch in range(trial["epochs"]):
        model.fit(
            x[:1200], y[:1200], trial["recipe"]["batch_size"], epoch + 1, 0, initial_epoch=epoch
        )
        accuracy = model.evaluate(x[1200:], y[1200:], 600, verbose=0)[1]
        if not post(f"{api}/{trial['trial']}:heartbeat", lease=trial["lease"])["go_on"]:
            break
    return {"val_accuracy": [accuracy]}


while not (answer := post(f"{api}:ask", worker="trainer", wait=10))["ended"]:
    for trial in answer["trials"]:
        began, metrics = time.time(), train(trial)
        metrics["seconds"] = time.time() - began
        post(f"{api}/{trial['trial']}:tell", lease=trial["lease"], metrics=metrics)
        print(trial["trial"], metrics["val_accuracy"][-1], trial["description"], flush=True)
