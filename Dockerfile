# One image for every role: the words after `docker run lrsearch` are those after `lrsearch`.
# `make images` builds it for CPU and for CUDA, each with a tag of the version. By hand:
#   docker build -t lrsearch:cpu .
#   docker build --build-arg TORCH_INDEX=https://pypi.org/simple -t lrsearch:cuda .
FROM python:3.11-slim AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/lrsearch
ENV PATH=/opt/lrsearch/bin:$PATH
# The largest layer, and the one that changes least. Both from one index: they must fit.
RUN pip install --index-url "$TORCH_INDEX" torch torchvision
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY lrsearch lrsearch
COPY conf conf
COPY sweeps sweeps
COPY deploy/kubernetes/workers deploy/kubernetes/workers
# With the drivers of object stores, and what `launcher=kubernetes` needs in a pod.
RUN pip install '.[stores,kubernetes]'

FROM python:3.11-slim

ARG VERSION=0.2.0
LABEL org.opencontainers.image.title=lrsearch \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.licenses=MIT
RUN useradd --uid 10001 --user-group --create-home lrsearch \
    && mkdir -p /work /data/raw /data/cache /data/checkpoints \
    && chown -R lrsearch:lrsearch /work /data
COPY --from=build /opt/lrsearch /opt/lrsearch
ENV PATH=/opt/lrsearch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LRSEARCH_DATA=/data/raw \
    LRSEARCH_CACHE=/data/cache \
    LRSEARCH_CHECKPOINTS=/data/checkpoints
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /work
VOLUME /data
ENTRYPOINT ["python", "-m", "lrsearch"]
CMD ["--help"]
