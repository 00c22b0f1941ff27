"""All scenes, in the order of the night, and what they come to."""

from night.clock import ClockBack
from night.ends import Sigkill, Sigterm
from night.full import BrokerFull, DiskFull
from night.overload import Overload
from night.slow import SlowClients, SlowDisk

SCENES = (BrokerFull, DiskFull, SlowDisk, Overload, SlowClients, ClockBack, Sigterm, Sigkill)


def chosen(only, is_short):
    """only: names; none: all."""
    return [scene for scene in SCENES if (scene.name in only if only else not is_short or scene.is_in_short)]


def verdict(results):
    """results: {name: (whether it kept every promise, checker.Result or None); None where it was skipped}.
    Returns (the last line, whether all is well): nothing played proves nothing."""
    played = {name: result for name, result in results.items() if result is not None}
    failed = [name for name, (is_kept, _) in played.items() if not is_kept]
    compared = [result for _, result in played.values() if result is not None]
    counts = {
        "scenes": len(results), "skipped": len(results) - len(played), "failed": len(failed),
        **{
            name: sum(getattr(result, name) for result in compared)
            for name in ("acked", "lost", "duplicated", "reordered", "committed_unacked")
        },
    }
    line = " ".join(f"{name}={count}" for name, count in counts.items())
    if failed:
        line += f" FAILED: {', '.join(failed)}"
    return line, bool(played) and not failed and counts["acked"] > 0
