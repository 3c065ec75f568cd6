"""Packaging of rlnas; the settings of the tools stand in ``pyproject.toml``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

VERSION = re.findall(r'__version__ = "(.+)"', (HERE / "rlnas/_version.py").read_text("utf-8"))[0]

REQUIRED = [
    "tensorflow>=2.18",
    "keras>=3.8",
    "gymnasium>=1.1",
    "numpy>=2.0",
    "tensorboard>=2.18",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "threadpoolctl>=3.5",
    "cloudpickle>=3.0",
    "pydantic>=2.8",
    "click>=8.1",
    "rich>=13.7",
    "PyYAML>=6.0.1",
    "matplotlib>=3.9",
    "Pillow>=10.3",
    "Jinja2>=3.1",
    "fastapi>=0.115",
    "starlette>=0.40",
    "uvicorn>=0.30",
    "sse-starlette>=2.1",
    "prometheus-client>=0.20",
    "httpx2>=2",
    "tenacity>=8.5",
]

EXTRAS = {
    "cuda": ["tensorflow[and-cuda]>=2.18"],
    "examples": ["sb3-contrib>=2.9", "requests>=2.32"],
    "jax": ["jax>=0.5"],
    "ray": ["ray>=2.40"],
    "test": [
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.17.5,<0.18",
        "mypy>=2.4.1,<2.5",
        "types-PyYAML>=6.0.12",
        "jax>=0.5",
        "ray>=2.40",
        "setuptools>=77",
        "requests>=2.32",
        "selenium>=4.20",
    ],
}

setup(
    name="rlnas",
    version=VERSION,
    description="Finds a Keras architecture for your data by reinforcement learning",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["rlnas", "rlnas.*", "envs", "envs.*"]),
    package_data={
        "rlnas": ["py.typed"],
        "rlnas.search": ["report.html"],
        "rlnas.service": ["templates/*.html", "static/*"],
    },
    python_requires=">=3.11",
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["rlnas = rlnas.cli:main"]},
)
