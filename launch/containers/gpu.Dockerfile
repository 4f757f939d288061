# Image for NVIDIA GPUs; CUDA comes with the packages, the driver (525 or newer) from the host by the NVIDIA container
# toolkit. In the root of the repository:
#
#   docker build --file launch/containers/gpu.Dockerfile --tag REGISTRY/irg_jax:gpu .
#
# The base is pinned by the tag of its exact version, and the packages by constraints.txt. A tag can still be moved; its
# digest is told only by the registry: docker buildx imagetools inspect python:3.11.14-slim-bookworm
FROM python:3.11.14-slim-bookworm

# What the toolkit gives to the container: all GPUs, for computing.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /opt/irg_jax
# The packages are a layer of their own: a change of the code leaves it as it is.
COPY launch/containers/constraints.txt launch/containers/
COPY setup.py pyproject.toml README.md ./
COPY irg_jax/__init__.py irg_jax/
RUN pip install --no-cache-dir --constraint launch/containers/constraints.txt --editable ".[cuda]"

COPY irg_jax irg_jax
COPY configs configs
