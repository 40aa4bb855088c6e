"""Peers that are programs of their own: nginx, with nchan or with a file, and a loop of `send`s in C."""

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .fan_out_apps import GO_EVERY_S, PAD
from .readers import compiled
from .servers import Server, child, wait_for

__all__ = ["missing_nchan", "nchan_publisher", "nchan_server", "nginx_server", "send_loop"]

NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

START_S = 10.0

UNCONFIRMED = 64
"""Messages that are sent to nchan before the first of them is confirmed: it is never idle, and no queue grows."""

CONFIRMED = b"HTTP/1.1 2"

CONFIG = """
{modules}
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {connections};
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {settings}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {locations}
    }}
}}
"""

NCHAN_LOCATIONS = """
        location = /publish {
            nchan_publisher;
            nchan_channel_id feed;
            nchan_message_buffer_length 100000;
        }
        location = /events {
            nchan_subscriber eventsource;
            nchan_channel_id feed;
            nchan_subscriber_first_message newest;
        }
"""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def nginx_server(locations: str, modules: str = "", settings: str = "") -> Iterator[Server]:
    """nginx with one worker and a configuration of its own."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(
            CONFIG.format(
                modules=modules,
                folder=folder,
                connections=16384,
                settings=settings,
                port=port,
                locations=locations,
            )
        )
        started = time.perf_counter()
        argv = ["nginx", "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"]
        with child(argv) as process:
            _wait_until_it_listens(port)
            yield Server(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - started)


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def nchan_server() -> Iterator[Server]:
    """nginx with nchan, which keeps messages in its memory. The channel is there."""
    with nginx_server(NCHAN_LOCATIONS, f"load_module {NCHAN};", "nchan_shared_memory_size 512M;") as server:
        yield server


@contextlib.contextmanager
def nchan_publisher(server: Server, count: int, per_s: float, go: str) -> Iterator[None]:
    """Publishes from a thread of ours once `go` is there: the only source that is not on the server's core."""
    leaving = threading.Event()
    thread = threading.Thread(target=_publish, args=(server, count, per_s, go, leaving))
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


def _publish(server: Server, count: int, per_s: float, go: str, leaving: threading.Event) -> None:
    while not (Path(go).exists() or leaving.is_set()):
        time.sleep(GO_EVERY_S)
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start, sent, confirmed, rest = time.time_ns(), 0, 0, b""
        while confirmed < count and not leaving.is_set():
            upto = min(count, confirmed + UNCONFIRMED, int((time.time_ns() - start) * per_s / 1e9))
            if upto > sent:
                connection.sendall(b"".join([_post(no, start, per_s) for no in range(sent + 1, upto + 1)]))
                sent = upto
            if sent > confirmed:
                answers = rest + connection.recv(65536)
                if answers == rest:
                    return  # nchan has gone
                confirmed += answers.count(CONFIRMED)
                rest = answers[answers.rfind(CONFIRMED) + len(CONFIRMED) :][-len(CONFIRMED) :]
            else:
                time.sleep(max(0.0, (start - time.time_ns()) / 1e9 + (sent + 1) / per_s))


def _post(no: int, start_ns: int, per_s: float) -> bytes:
    body = f'{{"~no":{no},"t":{start_ns + int(no * 1e9 / per_s)},"pad":"{PAD}"}}'
    head = f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


@contextlib.contextmanager
def send_loop(readers: int, count: int, per_s: float, go: str) -> Iterator[Server]:
    """The C program."""
    started = time.perf_counter()
    argv = [str(compiled("send_loop")), str(readers), str(count), str(per_s), go]
    with child(argv, stdout=subprocess.PIPE) as process:
        url = wait_for(process.stdout, re.compile(r"ready at (http://\S+)"))
        yield Server(url, process.pid, time.perf_counter() - started)


def missing_nchan() -> str:
    """What to do about it, where nchan is not there."""
    if shutil.which("nginx") and NCHAN.exists():
        return ""
    return "nchan: apt-get install nginx libnginx-mod-nchan"
