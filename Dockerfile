# Agent Hub in a container (docs/deploy.md).
#
#   docker build --tag agent-hub .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --volume agent-hub:/var/lib/agent-hub \
#     --publish 127.0.0.1:8080:8080 --env AGENT_HUB_AUTH=token agent-hub
#
# A container listens on every address of its own, so the hub in it starts only when it can tell its
# callers apart (AGENT_HUB_AUTH=token) or when you say --insecure: then whoever reaches the port can
# read and send everything.

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY agent_hub agent_hub
COPY mcp_bridge mcp_bridge
# Every package as a wheel, in the versions of requirements.txt; nothing is compiled, or it fails here.
RUN python -m pip wheel --no-cache-dir --wheel-dir /wheels --constraint requirements.txt .
RUN python -m venv --without-pip /opt/agent-hub \
    && python -m pip --python /opt/agent-hub/bin/python install --no-cache-dir --no-index \
    --find-links /wheels --constraint requirements.txt agent-hub

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Agent Hub" \
      org.opencontainers.image.description="A durable message hub for AI agents" \
      org.opencontainers.image.licenses="MIT"
# By number, so that Kubernetes can see that this is not root.
RUN groupadd --gid 10001 agent-hub \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin agent-hub \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/agent-hub
COPY --from=build /opt/agent-hub /opt/agent-hub
ENV PATH=/opt/agent-hub/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AGENT_HUB_HOST=0.0.0.0 \
    AGENT_HUB_PORT=8080 \
    XDG_STATE_HOME=/var/lib
USER 10001:10001
# The one place that is written to, by XDG_STATE_HOME: messages and credentials on SQLite, on Redis
# nothing. Also where `.env` would be looked for. It is no VOLUME here: without a volume of yours the
# messages would be in one that nobody knows, and on a read-only container the hub says so instead
# of starting. Some hosters refuse the instruction, too.
WORKDIR /var/lib/agent-hub
EXPOSE 8080
STOPSIGNAL SIGTERM
# Whether the process answers. Not /readyz: what restarts the unhealthy would restart a hub whose
# Redis is away, and close its sockets for nothing. It asks itself, so any certificate is good.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, ssl; at = ('127.0.0.1', int(os.environ['AGENT_HUB_PORT'])); hub = http.client.HTTPSConnection(*at, timeout=4, context=ssl._create_unverified_context()) if os.environ.get('AGENT_HUB_TLS_CERT') else http.client.HTTPConnection(*at, timeout=4); hub.request('GET', '/livez'); raise SystemExit(hub.getresponse().status != 200)"]
ENTRYPOINT ["agent-hub"]
CMD ["serve"]
