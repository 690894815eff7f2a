"""Tests against a real server: WATTLEDGER_URL is the address of a demo."""

import os
import threading
import unittest
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import wattledger
from collector.kepler_client import KeplerClient
from collector.power_metrics import PowerCalculator

URL = os.environ["WATTLEDGER_URL"]


class Answers(unittest.TestCase):
    def setUp(self):
        self.client = wattledger.Client(URL)

    def test_every_route(self):
        workloads = list(self.client.power_current())
        self.assertGreater(len(workloads), 10)
        self.assertEqual(len(list(self.client.power_containers(filters={"namespace": "shop"}))), len(
            [c for c in self.client.power_containers() if c["namespace"] == "shop"]))
        self.assertEqual(len(self.client.power_nodes()), 6)
        self.assertGreater(self.client.cost_current()["cost"]["total_cost"], 0)
        self.assertIn("month", self.client.cost_summary(tz="Asia/Seoul"))
        self.assertIn("team", [d["name"] for d in self.client.dimensions()])
        self.assertEqual(self.client.cost_workload("checkout")["workload"]["namespace"], "shop")
        self.assertTrue(self.client.workload_types()["profiles"])
        self.assertEqual(self.client.classify({"image": "vllm/vllm-openai:v0.9"})["classification"]["workload_type"], "inference")
        self.assertIn("shop", self.client.allocation("2h", aggregate="namespace")[0])
        self.assertTrue(self.client.ready())

    def test_sums(self):
        end = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
        start = end - timedelta(hours=3)
        whole = self.client.cost_hourly(start, end, aggregate="team")
        self.assertAlmostEqual(sum(g["total_cost"] for g in whole["groups"]), whole["totals"]["total_cost"], places=12)
        one = self.client.cost_hourly(start, end, filters={"team": ["checkout", "data"]})["totals"]["energy_kwh"]
        self.assertAlmostEqual(one, sum(g["energy_kwh"] for g in whole["groups"] if g["team"] in ("checkout", "data")), places=12)
        opencost = self.client.allocation(f"{int(start.timestamp())},{int(end.timestamp())}", aggregate="namespace", includeIdle=True)
        self.assertAlmostEqual(sum(a["totalCost"] for a in opencost[0].values()), whole["totals"]["total_cost"], places=9)

    def test_snippet(self):
        data = KeplerClient(prometheus_url=URL).get_container_power_metrics(namespace="shop", time_range="5m")
        self.assertTrue(data)
        cost = PowerCalculator().calculate_total_cost(data)
        self.assertAlmostEqual(cost, PowerCalculator().calculate_power_cost(sum(c["power_watts"] for c in data), 1), places=9)
        self.assertEqual(PowerCalculator().calculate_power_cost(1000, 1), 0.12 * 2.3 + 0.05)
        self.assertEqual(KeplerClient(prometheus_url=URL).get_container_power_metrics(namespace="kcloud-workloads"), [])
        with self.assertRaises(ValueError):
            PowerCalculator().calculate_power_cost(-1, 1)

    def test_errors(self):
        with self.assertRaises(wattledger.Error) as caught:
            self.client.cost_monthly(aggregate="teem")
        self.assertEqual(caught.exception.status, 400)
        self.assertIn('did you mean "team"', caught.exception.detail)
        self.assertIn("team", caught.exception.errors[0]["allowed"])
        with self.assertRaises(wattledger.Unavailable):
            wattledger.Client("http://127.0.0.1:1", retries=0).ready()
        with self.assertRaises(ValueError):
            wattledger.Client("localhost:9201")


class Retries(unittest.TestCase):
    def test_busy_server_is_asked_again(self):
        asked = []

        class Busy(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.headers["Authorization"])
                busy = len(asked) < 3
                self.send_response(503 if busy else 200)
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(b'{"detail":"busy"}' if busy else b'{"nodes":[]}')

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Busy)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            client = wattledger.Client(f"http://127.0.0.1:{server.server_port}", "secret")
            self.assertEqual(client.power_nodes(), [])
        finally:
            server.shutdown()
            server.server_close()
        self.assertEqual(asked, ["Bearer secret"] * 3)


if __name__ == "__main__":
    unittest.main()
