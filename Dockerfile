# One image for everything that runs Python: the tracking server, Ray's head and workers, the driver. So all of them have
# the same Python, torch, NumPy and engine, which a cluster insists on.
#
#   docker build --tag latent-suite:cpu .
#   docker build --tag latent-suite:gpu --build-arg TORCH=gpu .
FROM python:3.11.14-slim-bookworm AS packages
# cpu: PyTorch's builds without CUDA; gpu: the usual ones, with CUDA's libraries (5 GB more).
ARG TORCH=cpu
RUN python -m venv /opt/suite
ENV PATH=/opt/suite/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# What changes seldom stands first: an edit of the engine installs no package again.
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN python requirements.py cluster > requirements.txt \
    && case "$TORCH" in \
         cpu) wheels="--extra-index-url https://download.pytorch.org/whl/cpu" ;; \
         gpu) wheels="" ;; \
         *) echo "TORCH is cpu or gpu, not $TORCH" >&2; exit 1 ;; \
       esac \
    && pip install $wheels --constraint constraints.txt --requirement requirements.txt "setuptools>=77"
COPY README.md LICENSE ./
COPY suite suite
COPY tasks tasks
COPY baselines baselines
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
# KubeRay asks a pod for its health by wget.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 1000 suite && useradd --uid 1000 --gid suite --no-create-home suite \
    && install --directory --owner suite --group suite /runs /data /artifacts
COPY --from=packages /opt/suite /opt/suite
WORKDIR /suite
COPY docker docker
COPY results/demo.yaml results/demo.yaml
# A volume that is new takes the owner that its folder has here.
ENV PATH=/opt/suite/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    SUITE_WORKSPACE=/runs SUITE_DATA=/data MLFLOW_DISABLE_TELEMETRY=true RAY_USAGE_STATS_ENABLED=0
USER suite
CMD ["suite", "--help"]
