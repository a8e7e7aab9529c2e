# Two images of one project:
#   docker build --target gateway -t pacer-gateway .    HTTP in, queue out; no torch
#   docker build --target worker  -t pacer-worker  .    draws; --build-arg TORCH_INDEX=... chooses the build of torch

FROM python:3.13-slim AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY workers workers
COPY schedules schedules
COPY pacer pacer
COPY clients clients

FROM source AS gateway-build
RUN python -m venv /opt/pacer \
    && /opt/pacer/bin/pip install --no-cache-dir --constraint constraints.txt . \
    # The gateway needs a model's card, which pacer/cards holds, and never its weights.
    && rm -rf /opt/pacer/lib/python3.13/site-packages/workers/*/model

FROM source AS worker-build
ARG TORCH_INDEX=""
RUN python -m venv /opt/pacer \
    && if [ -n "$TORCH_INDEX" ]; then \
        /opt/pacer/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" --no-deps "$(grep '^torch[<>=]' constraints.txt)"; \
    fi \
    && /opt/pacer/bin/pip install --no-cache-dir --constraint constraints.txt ".[worker]"

FROM python:3.13-slim AS runtime
RUN useradd --system --uid 10001 --create-home --home-dir /home/pacer pacer
ENV PATH=/opt/pacer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PACER_HOST=0.0.0.0 \
    PACER_LOG_FORMAT=json
WORKDIR /home/pacer

FROM runtime AS gateway
COPY --from=gateway-build /opt/pacer /opt/pacer
USER pacer
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["pacer"]
CMD ["gateway"]

FROM runtime AS worker
COPY --from=worker-build /opt/pacer /opt/pacer
USER pacer
EXPOSE 9101
ENTRYPOINT ["pacer"]
CMD ["worker", "--model", "shapes-64"]
