"""`reprovision serve`: the service in uvicorn, until it is stopped."""

import socket
from contextlib import suppress

import uvicorn

from reprovision.core.errors import UserError, printable
from reprovision.service.app import make_app
from reprovision.service.service import Service

STOP_SECONDS = 30
"""For requests that are under way when the process is asked to stop."""


def serve(service: Service, host: str, port: int) -> None:
    """Answers requests until SIGINT or SIGTERM; what is under way then is finished.

    Args:
        port: 0 for any that is free, which is printed.

    Raises:
        UserError: the address can't be used.
    """
    with _listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        loaded = service.loaded
        # of a registered model; that of a file says nothing to people
        version = f" version {loaded.version}" if loaded.version.isdecimal() else ""
        print(
            printable(
                f"{loaded.name}{version} ({len(loaded.predictor.classes)} classes) answers at "
                f"http://{shown}:{listening.getsockname()[1]} - stop it with Ctrl+C"
            ),
            flush=True,
        )
        config = uvicorn.Config(
            make_app(service),
            log_level="warning",
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
        # uvicorn raises it again once everything is answered
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listening])
        print("stopped", flush=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{host}:{port} can't be used ({getattr(error, 'strerror', None) or error}): name "
            "another --port, or --host"
        ) from None
