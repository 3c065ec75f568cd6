"""The config tree, its flags and YAML, and the names a user can choose from."""

from rlnas.config.controller import DENSITY_PULL, ControllerConfig
from rlnas.config.engine import IN_FLIGHT, OFFERED, EngineConfig
from rlnas.config.fields import is_file_of_rules, is_table_of_networks
from rlnas.config.flags import Flag, config_flags
from rlnas.config.names import (
    AUGMENTATIONS,
    AUGMENTATIONS_OF,
    CONTROLLERS,
    COST_FORMS,
    COSTS,
    DATASETS,
    EXECUTORS,
    FIDELITIES,
    KINDS,
    METRICS,
    OF_NUMBERS,
    OPTIMIZERS,
    PRESETS,
    RECIPE_PARTS,
    SCHEDULES,
    SPACES,
    SURROGATES,
    TASKS,
    WEIGHTED,
)
from rlnas.config.objective import ObjectiveConfig
from rlnas.config.reading import default_root, dump_config, make_config, read_config, with_flags
from rlnas.config.recipe import RecipeConfig
from rlnas.config.schema import (
    BudgetConfig,
    DataConfig,
    EvaluationConfig,
    FidelityConfig,
    FinalConfig,
    SearchConfig,
    SpaceConfig,
)

__all__ = [
    "is_file_of_rules",
    "is_table_of_networks",
    "AUGMENTATIONS",
    "AUGMENTATIONS_OF",
    "CONTROLLERS",
    "COSTS",
    "COST_FORMS",
    "DATASETS",
    "DENSITY_PULL",
    "EXECUTORS",
    "FIDELITIES",
    "IN_FLIGHT",
    "KINDS",
    "METRICS",
    "OFFERED",
    "OF_NUMBERS",
    "OPTIMIZERS",
    "PRESETS",
    "RECIPE_PARTS",
    "SCHEDULES",
    "SPACES",
    "SURROGATES",
    "TASKS",
    "WEIGHTED",
    "BudgetConfig",
    "ControllerConfig",
    "DataConfig",
    "EngineConfig",
    "EvaluationConfig",
    "FidelityConfig",
    "FinalConfig",
    "Flag",
    "ObjectiveConfig",
    "RecipeConfig",
    "SearchConfig",
    "SpaceConfig",
    "config_flags",
    "default_root",
    "dump_config",
    "make_config",
    "read_config",
    "with_flags",
]
