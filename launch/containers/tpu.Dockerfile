# Image for Cloud TPU and the TPU nodes of GKE. In the root of the repository:
#
#   docker build --file launch/containers/tpu.Dockerfile --tag REGISTRY/irg_jax:tpu .
#
# The base is pinned by the tag of its exact version, and the packages by constraints.txt. A tag can still be moved; its
# digest is told only by the registry: docker buildx imagetools inspect python:3.11.14-slim-bookworm
FROM python:3.11.14-slim-bookworm

WORKDIR /opt/irg_jax
# The packages are a layer of their own: a change of the code leaves it as it is.
COPY launch/containers/constraints.txt launch/containers/
COPY setup.py pyproject.toml README.md ./
COPY irg_jax/__init__.py irg_jax/
RUN pip install --no-cache-dir --constraint launch/containers/constraints.txt --editable ".[tpu]"

COPY irg_jax irg_jax
COPY configs configs
