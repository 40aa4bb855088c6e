"""nginx in front of a server, with its own defaults or worse."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.testing import until

__all__ = ["nginx"]

PLAIN = ""
"""nginx as it comes: it buffers, but obeys `X-Accel-Buffering: no`, and takes the upgrade off WebSockets."""

UPGRADING = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
"""
"""With the lines that docs/operations.md gives for WebSockets."""

STUBBORN = """
    proxy_ignore_headers X-Accel-Buffering;
    proxy_set_header Accept-Encoding "";
    gzip on;
    gzip_min_length 0;
    gzip_types text/event-stream;
"""
"""It compresses streams by itself, and so holds them back until there is enough to compress."""

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    proxy_set_header Host $http_host;
    {lines}
    location / {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
}}
"""


@asynccontextmanager
async def nginx(program: str, folder: Path, behind: int, lines: str = PLAIN) -> AsyncIterator[int]:
    """An nginx of the test's own. Its port."""
    with socket.socket() as holder:  # keeps the port free of others; it does not listen
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, behind=behind, lines=lines))
        with (folder / "nginx.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program,
                "-p",
                str(folder),
                "-c",
                str(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await until(lambda: _answers(port) or process.returncode is not None, 30, "nginx answers")
            assert process.returncode is None, (folder / "nginx.log").read_text()
            yield port
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
