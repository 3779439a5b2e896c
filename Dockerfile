# A server for the mixtures of a mounted /etc/moa/moa.toml, as docs/how-to/serve.md describes it.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY constraints constraints
COPY llama_index llama_index
RUN python -m venv /opt/moa \
    && /opt/moa/bin/pip install --no-cache-dir --constraint constraints/dev.txt \
        --constraint constraints/core-newest.txt ".[cli,fast,mcp,server]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home moa && install --directory --owner moa /data
COPY --from=build /opt/moa /opt/moa
ENV PATH="/opt/moa/bin:$PATH"
WORKDIR /data
VOLUME /data
USER 10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["moa", "serve", "--host", "0.0.0.0", "--config", "/etc/moa/moa.toml"]
CMD ["--store", "/data/moa.sqlite3"]
