"""What a relay has to say of itself, and the page on which a monitor reads it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import time

Sample = tuple[str, dict[str, str], float]

# name, kind, and what it says: as the exposition format of Prometheus has it.
_HELP = {
    "published_total": ("counter", "Events that the broker has confirmed and routed."),
    "refused_total": ("counter", "Events set aside, by reason."),
    "failures_total": ("counter", "Tries that the broker or the database did not play along with."),
    "connections_total": ("counter", "Connections that were opened to the broker."),
    "confirm_seconds_total": ("counter", "Seconds spent waiting for the answers to batches."),
    "batches_total": ("counter", "Batches that were answered."),
    "blocked": ("gauge", "1 while the broker blocks publishers."),
    "shards": ("gauge", "Shards that the last turn held, of 16."),
    "last_success_timestamp_seconds": ("gauge", "When the outbox was last looked at without a failure."),
    "pending": ("gauge", "Events in the outbox, counted up to 100,000."),
    "oldest_seconds": ("gauge", "Age of the oldest event in the outbox: the one to alarm on."),
    "oldest_retry_seconds": ("gauge", "Age of the oldest event that was refused and is tried again: alarm on it too."),
    "deferred": ("gauge", "Events that were refused, by state."),
}


@dataclass
class Metrics:
    """The counters of one relay.

    Attributes:
        last_round: when it last came to the end of a round or of a pause, whatever came of it: that it lives.
        last_success: when it last looked at the outbox without a failure, or 0.
    """

    published: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    connections: int = 0
    confirm_seconds: float = 0.0
    batches: int = 0
    blocked: bool = False
    shards: int = 0
    last_success: float = 0.0
    last_round: float = field(default_factory=time)

    def answered(self, seconds: float, *, confirmed: int, reasons: Iterable[str]) -> None:
        """Count a batch that was answered."""
        self.batches += 1
        self.confirm_seconds += seconds
        self.published += confirmed
        for reason in reasons:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def succeeded(self) -> None:
        """Note that a look at the outbox went well."""
        self.last_success = time()

    def went_round(self) -> None:
        """Note that the relay is alive, though it may only wait for the broker."""
        self.last_round = time()

    def samples(self) -> list[Sample]:
        """Return each figure as name, labels and value."""
        return [
            ("published_total", {}, self.published),
            *(("refused_total", {"reason": reason}, count) for reason, count in sorted(self.refused.items())),
            ("failures_total", {}, self.failures),
            ("connections_total", {}, self.connections),
            ("confirm_seconds_total", {}, self.confirm_seconds),
            ("batches_total", {}, self.batches),
            ("blocked", {}, self.blocked),
            ("shards", {}, self.shards),
            ("last_success_timestamp_seconds", {}, self.last_success),
        ]


def exposition(samples: Iterable[Sample]) -> str:
    """Return figures in the text format that Prometheus scrapes; the labels hold words of ours alone."""
    lines: list[str] = []
    told: set[str] = set()
    for name, labels, value in sorted(samples, key=lambda sample: sample[0]):
        if name not in told:
            kind, what = _HELP[name]
            lines += [f"# HELP ninja_auth_kit_audit_{name} {what}", f"# TYPE ninja_auth_kit_audit_{name} {kind}"]
            told.add(name)
        label = ",".join(f'{key}="{said}"' for key, said in labels.items())
        lines.append(f"ninja_auth_kit_audit_{name}{{{label}}} {value:.10g}".replace("{}", ""))
    return "\n".join([*lines, ""])
