"""Writes docs/metrics.md from the metrics in the code: `make docs`. A test holds the file to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(__file__).with_name("metrics.md")
ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
    "HistogramMetricFamily": "histogram",
}
SHARED = {
    "telemetry": "every service",
    "dispatch": "whoever invokes: frontend, poller, router",
    "events": "frontend, poller, router",
    "ledger": "what tells the ledger: frontend, poller, router",
    "registry": "what reads the registry: frontend, scheduler, poller, router",
}
"""Folder of `shared` to who shows its metrics."""
HEAD = """# Metrics

Every metric of every service. Made from the code by `make docs`; do not edit.

Each service shows its own at `/metrics` of its health port, in Prometheus's text format, beside what Prometheus's client says
of the process (`process_...`, `python_...`). The frontend's are at the endpoint itself. Nobody has to sign for them; the health
ports are on loopback (`LAMBDAD_TELEMETRY__HOST`), and `lambdad status` lists them:

```sh
curl -s "$AWS_ENDPOINT_URL/_lambdad/metrics"    # the frontend's
lambdad status                                  # the PORT of the others: curl -s http://127.0.0.1:PORT/metrics
```
For Prometheus, as a file of targets (`file_sd_configs`). A data directory keeps its ports from one start to the next, unless
somebody else has taken one; write the file again then, and when the number of workers changes.

```sh
lambdad status --json | python3 -c '
import json, sys
from urllib.parse import urlsplit
children = json.load(sys.stdin)["cluster"]["children"]
urls = [(child["name"], child["ready_url"]) for child in children if child["ready_url"]]
print(json.dumps([{"targets": [urlsplit(url).netloc], "labels": {"service": name,
      "__metrics_path__": urlsplit(url).path.removesuffix("ready") + "metrics"}} for name, url in urls]))' > targets.json
```
```yaml
scrape_configs:
  - job_name: lambdad
    file_sd_configs:
      - files: [targets.json]
```
In docker-compose.yml the health port of each container is 9100, on the compose network; the frontend's is the published port.

What to look at first: `lambdad_frontend_invocations_total` by `outcome`, `lambdad_frontend_invoke_seconds`,
`lambdad_mapping_lag_records`, `lambdad_undeliverable_total`, `lambdad_task_failures_total` (anything but 0 is worth a look).
"""


@dataclass(frozen=True)
class Metric:
    """name: as it is scraped. labels: may be empty."""

    source: str
    name: str
    kind: str
    about: str
    labels: tuple[str, ...]

    def line(self) -> str:
        return f"| `{self.name}` | {self.kind} | {', '.join(f'`{label}`' for label in self.labels)} | {self.about} |"


def metrics() -> Iterator[Metric]:
    """In the order of their names. Raises ValueError for one whose words are not written down where it is made."""
    found = []
    for folder in ("services", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Name(id=maker), args=[_, _, *_]) if maker in KINDS:
                        found.append(_metric(path.relative_to(ROOT), KINDS[maker], node))
    yield from sorted(found, key=lambda metric: metric.name)


def _metric(path: Path, kind: str, call: ast.Call) -> Metric:
    name, about = (ast.literal_eval(argument) for argument in call.args[:2])
    named = [keyword.value for keyword in call.keywords if keyword.arg in ("labels", "labelnames")]
    labels = ast.literal_eval((call.args[2:3] or named or [ast.List([])])[0])
    if kind == "counter" and not name.endswith("_total"):
        name += "_total"
    if kind == "histogram":
        name += "_bucket"
        about += "; also `_sum`, `_count`"
    return Metric(path.as_posix(), name, kind, about, tuple(labels))


def render() -> str:
    by_owner: dict[str, list[str]] = {}
    for metric in metrics():
        folder, part = metric.source.split("/")[:2]
        owner = part.capitalize() if folder == "services" else f"Of {SHARED[part]}"
        by_owner.setdefault(owner, []).append(metric.line())
    tables = [
        "\n".join([f"\n## {owner}", "| metric | kind | labels | |", "|---|---|---|---|", *lines, ""])
        for owner, lines in sorted(by_owner.items(), key=lambda pair: (pair[0].startswith("Of "), pair[0]))
    ]
    return HEAD + "".join(tables)


if __name__ == "__main__":
    TARGET.write_text(render())
