# Image for NVIDIA GPUs. CUDA comes with the Python packages, the driver (525 or newer) from the host through the NVIDIA
# container toolkit. Build it in the root of the repository:
#
#   docker build --file launch/containers/gpu.Dockerfile --tag REGISTRY/irg_jax:gpu .
#
# The base image is pinned by the tag of its exact version, the packages by constraints.txt. A tag can still be moved;
# the registry has its digest: docker buildx imagetools inspect python:3.11.14-slim-bookworm
FROM python:3.11.14-slim-bookworm

# The toolkit makes all GPUs available, for computing.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /opt/irg_jax
# The dependencies have their own layer, which a change of the code does not invalidate.
COPY launch/containers/constraints.txt launch/containers/
COPY setup.py pyproject.toml README.md ./
COPY irg_jax/__init__.py irg_jax/
COPY configs/__init__.py configs/
RUN pip install --no-cache-dir --constraint launch/containers/constraints.txt --editable ".[cuda]"

COPY irg_jax irg_jax
COPY configs configs
