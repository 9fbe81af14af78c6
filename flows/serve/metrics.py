"""What Prometheus can ask of a server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from infra.table import Row

SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)


class Metrics:
    """Counts of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("pacore_requests", "chat requests by status", ["status"], registry=self.registry)
        self.running = Gauge("pacore_requests_running", "chat requests in flight", registry=self.registry)
        self.seconds = Histogram(
            "pacore_request_seconds", "time to a whole answer", buckets=SECONDS, registry=self.registry
        )
        self.trajectories = Counter("pacore_trajectories", "by round", ["round"], registry=self.registry)
        self.tokens = Counter("pacore_tokens", "of all trajectories, by kind", ["kind"], registry=self.registry)

    def heard(self, row: Row) -> None:
        """Count a trajectory."""
        self.trajectories.labels(row["round"]).inc()
        for kind in ("prompt", "cached", "completion"):
            self.tokens.labels(kind).inc(row[f"{kind}_tokens"])

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
