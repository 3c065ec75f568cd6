"""The names a user can choose from."""

CONTROLLERS = ("reinforce", "random")
PRESETS = ("default", "zoph")
SPACES = ("image",)
DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd", "momentum", "nesterov")
SCHEDULES = ("cosine", "fixed")
