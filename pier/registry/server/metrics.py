"""What Prometheus may know of a registry, through prometheus-client (the extra `metrics`)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Metrics:
    """Counters of one registry. Without prometheus-client every count is dropped."""

    def __init__(self) -> None:
        try:
            import prometheus_client
        except ImportError:
            self._registry: CollectorRegistry | None = None
            return
        self._expose = prometheus_client.generate_latest
        self._registry = registry = prometheus_client.CollectorRegistry()
        counter = prometheus_client.Counter
        labels = ("route", "method", "status")
        self._requests = counter(
            "pier_registry_requests", "Requests answered", labels, registry=registry
        )
        self._seconds = prometheus_client.Histogram(
            "pier_registry_request_seconds", "Time to answer", ("route",), registry=registry
        )
        self._sent = counter("pier_registry_blob_sent_bytes", "Blobs served", registry=registry)
        self._received = counter(
            "pier_registry_blob_received_bytes", "Blobs taken in", registry=registry
        )
        self._cache = counter(
            "pier_registry_cache_requests",
            "Pull-through cache: hit, miss, stale (upstream failed, served what was here)",
            ("kind", "result"),
            registry=registry,
        )
        self._collected = counter(
            "pier_registry_collected_bytes", "Removed by collection", registry=registry
        )

        self._evicted = counter(
            "pier_registry_evicted_bytes", "Removed to keep a cache small", registry=registry
        )

    @property
    def available(self) -> bool:
        return self._registry is not None

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        if self._registry is not None:
            self._requests.labels(route, method, str(status)).inc()
            self._seconds.labels(route).observe(seconds)

    def sent(self, size: int) -> None:
        if self._registry is not None:
            self._sent.inc(size)

    def received(self, size: int) -> None:
        if self._registry is not None:
            self._received.inc(size)

    def cache(self, kind: str, result: str) -> None:
        if self._registry is not None:
            self._cache.labels(kind, result).inc()

    def collected(self, size: int) -> None:
        if self._registry is not None:
            self._collected.inc(size)

    def evicted(self, size: int) -> None:
        if self._registry is not None:
            self._evicted.inc(size)

    def expose(self) -> bytes:
        """The text format."""
        return b"" if self._registry is None else self._expose(self._registry)
