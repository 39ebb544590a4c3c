"""Whether this machine is a living node of a Ray cluster: the health check of its workers.

    python docker/joined.py HEAD:PORT

Exits with 0 if it is. A worker whose head answers may still be on its way into the cluster.
"""

from __future__ import annotations

import socket
import sys

import ray
from ray.core.generated.gcs_pb2 import GcsNodeInfo


def is_joined(address: str, host: str) -> bool:
    """Whether the cluster at ``address`` has a living node on the machine called ``host``."""
    nodes = ray._raylet.GcsClient(address=address).get_all_node_info().values()
    return any(node.node_manager_hostname == host and node.state == GcsNodeInfo.ALIVE for node in nodes)


if __name__ == "__main__":
    sys.exit(not is_joined(sys.argv[1], socket.gethostname()))
