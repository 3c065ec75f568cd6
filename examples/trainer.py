"""A trainer for `rlnas serve` without rlnas: python trainer.py http://127.0.0.1:8420 NAME."""

import json
import os
import sys

import keras
import requests
from sklearn.datasets import load_digits

api = f"{sys.argv[1]}/v1/searches/{sys.argv[2]}/trials"
token = {"Authorization": f"Bearer {os.environ.get('RLNAS_TOKEN', '')}"}
x, y = load_digits().images[..., None] / 16, load_digits().target


def post(address, **body):
    """Send JSON; return the answer's, or None where a lease is lost or not wanted any more."""
    answer = requests.post(address, json=body, headers=token, timeout=60)
    return None if answer.status_code == 409 else answer.raise_for_status() or answer.json()


def train(trial, about):
    """Train a network as long as the server wants to; return the accuracy behind each epoch."""
    keras.utils.set_random_seed(trial["seed"])
    model = keras.models.model_from_json(json.dumps(trial["architecture"]))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    accuracies, go_on = [], True
    while go_on and len(accuracies) < trial["epochs"]:
        model.fit(x[:1200], y[:1200], trial["recipe"]["batch_size"], verbose=0)
        accuracies.append(model.evaluate(x[1200:], y[1200:], 600, verbose=0)[1])
        found = post(f"{about}:heartbeat", val_accuracy=accuracies, lease=trial["lease"])
        go_on = found is not None and found["go_on"]
    return accuracies


while not (answer := post(f"{api}:ask", worker="trainer", wait=10))["ended"]:
    for trial in answer["trials"]:
        found = train(trial, about := f"{api}/{trial['trial']}")
        post(f"{about}:tell", lease=trial["lease"], metrics={"val_accuracy": found})
        print(trial["trial"], found[-1], trial["description"], flush=True)
