"""Power of containers, as the original collector asked Prometheus for it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import wattledger


class KeplerClient:
    """Reads the power of containers from Wattledger.

    prometheus_url is Wattledger's address; the name is the original collector's.
    """

    def __init__(self, prometheus_url: str = "http://localhost:9201", token: Optional[str] = None, timeout: float = 30.0) -> None:
        self._client = wattledger.Client(prometheus_url, token, timeout=timeout)

    def get_container_power_metrics(self, namespace: Optional[str] = None, time_range: str = "5m", workload_type: Optional[str] = None,
                                    filters: Optional[wattledger._client.Filters] = None) -> List[Dict[str, Any]]:
        """Return the containers of a namespace, or of all, with their mean power over time_range.

        Each has power_watts, cost_per_hour, components, cluster, node, namespace, pod,
        container, workload_id and workload_type. wattledger.frame() makes a DataFrame
        of them.
        """
        asked: Dict[str, Any] = dict(filters or {})
        if namespace:
            asked["namespace"] = namespace
        if workload_type:
            asked["workload_type"] = workload_type
        return list(self._client.power_containers(time_range=time_range, filters=asked))
