"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

PREFIX = "reprovision"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of one service; names and units follow Prometheus's conventions."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            f"{PREFIX}_requests",
            "Requests by status",
            ["status"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{PREFIX}_request_seconds",
            "Time of requests for predictions",
            registry=registry,
            buckets=SECONDS,
        )
        self.images = Counter(f"{PREFIX}_images", "Images predicted", registry=registry)
        self.batches = Histogram(
            f"{PREFIX}_batch_images",
            "Images predicted at a time",
            registry=registry,
            buckets=BATCHES,
        )
        self.under_way = Gauge(f"{PREFIX}_images_under_way", "Images under way", registry=registry)
        self.model = Info(f"{PREFIX}_model", "The model that answers", registry=registry)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
