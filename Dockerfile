# The service with the exported model, without PyTorch:
#
#   docker build --tag digits .
#   docker run --rm --publish 8000:8000 digits

FROM python:3.14-slim AS build
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv
WORKDIR /build
COPY LICENSE README.md pyproject.toml requirements.txt ./
COPY src src
# the packages of the group in the versions of the whole environment, then this one without its own
RUN uv venv /opt/reprovision \
 && uv pip install --python /opt/reprovision --group serve --constraint requirements.txt \
 && uv pip install --python /opt/reprovision --no-deps .

FROM python:3.14-slim
COPY --from=build /opt/reprovision /opt/reprovision
ENV PATH=/opt/reprovision/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
COPY models/exported models/exported
# nobody: it writes nothing
USER 65534
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health')"]
CMD ["reprovision", "serve", "--host", "0.0.0.0", "--port", "8000", "--model", "models/exported"]
