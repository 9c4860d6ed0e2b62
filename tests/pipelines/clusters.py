"""Clusters that tests start themselves, and what listens on this machine because of them."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dask
import distributed
import psutil  # type: ignore[import-untyped]


@contextmanager
def dask_cluster() -> Iterator[str]:
    """A Dask cluster of two processes; gives the address of its scheduler."""
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.http.routes": []}
    with (
        tempfile.TemporaryDirectory() as scratch,
        dask.config.set(settings),
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            memory_limit=0, local_directory=scratch, silence_logs=logging.CRITICAL,
        ) as cluster,
    ):  # fmt: skip
        yield cluster.scheduler_address


_RAY = """
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def ray_cluster() -> Iterator[str]:
    """A Ray cluster of one core that another process has started; gives its address."""
    for name, value in _PRIVATE.items():
        os.environ.setdefault(name, value)
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as place,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _RAY, place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


_PRIVATE = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
}  # fmt: skip
"""Loopback only, and work from nobody else. Ray reads these once per process."""


@dataclass(frozen=True)
class Listener:
    """Where a process takes connections."""

    process: str
    address: str

    @property
    def is_loopback(self) -> bool:
        found = ipaddress.ip_address(self.address)
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return (mapped or found).is_loopback


def listening() -> list[Listener]:
    """All sockets of this process and its children, and theirs, that take connections or datagrams."""
    me = psutil.Process()
    return [
        Listener(process.name(), each.laddr.ip)
        for process in (me, *me.children(recursive=True))
        for each in process.net_connections(kind="inet")
        if each.laddr and (each.status == psutil.CONN_LISTEN or (each.status == "NONE" and not each.raddr))
    ]
