"""The names a user can choose from."""

CONTROLLERS = ("ppo", "reinforce", "dqn", "evolution", "genetic", "local", "random")
PRESETS = ("default", "zoph", "enas", "nats")
CONTROLS = ("random",)
CONTROL_ENDING = "-control"
"""The run of a control is called as the run that it belongs to, with this behind."""

LONGEST_NAME = 100
"""Most characters of the name of a run (chosen)."""

PLAIN_NAME = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}"
"""Form of the name of a run."""

SURROGATES = ("gp", "forest", "none")
FIDELITIES = ("full", "median", "halving")
EXTERNAL = "external"
"""The executor of searches whose children are trained elsewhere."""
EXECUTORS = ("process", "inline", "ray", EXTERNAL)
SPACES = ("image", "image-skip", "text", "audio", "tabular")
KINDS = ("image", "text", "audio", "tabular")
DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "adagrad", "sgd", "momentum", "nesterov")
SCHEDULES = ("cosine", "fixed", "exponential", "step", "plateau", "gradient")
WEIGHTED = {"balanced_accuracy": 1.0, "f1": 0.5, "f1_macro": 0.5}
"""How much rarer classes weigh more in training where a metric is about them (chosen)."""
METRICS = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "auc", "log_loss", "r2", "mae")
OF_NUMBERS = ("r2", "mae")
LESS_IS_BETTER = ("log_loss", "mae")
"""Metrics that are rewarded as negative numbers."""
TASKS = ("classification", "regression")
COSTS = ("params", "flops", "latency", "size")
COST_FORMS = ("hard", "soft", "absolute")
RECIPE_PARTS = (
    "batch_size",
    "optimizer",
    "learning_rate",
    "schedule",
    "rate_per_layer",
    "l1",
    "l2",
    "dropout",
    "batch_norm",
    "label_smoothing",
    "class_weight",
    "augment",
)
AUGMENTATIONS_OF = {
    "image": ("flip", "rotation", "zoom", "shift"),
    "audio": ("time_mask", "frequency_mask"),
}
"""Random changes in training, by the kind of data that they change."""
AUGMENTATIONS = tuple(name for names in AUGMENTATIONS_OF.values() for name in names)
