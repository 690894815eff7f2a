"""Client of Wattledger, the energy and cost books of Kubernetes.

    >>> import wattledger
    >>> client = wattledger.Client("http://localhost:9201")
    >>> for group in client.cost_monthly(aggregate="team")["groups"]:
    ...     print(group["team"], group["total_cost"])

It needs the standard library alone; where pandas is installed, frame() makes a
DataFrame of a list of rows.
"""

from ._client import Client, Error, Unavailable
from ._frame import frame

__all__ = ["Client", "Error", "Unavailable", "frame"]
__version__ = "0.1.0"
