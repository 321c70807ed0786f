"""What the library is for, and where each part of it is shown: ``python tests/inventory.py`` writes docs/inventory.md.

Each row is one thing that users look for. ``FILE::TEST`` is a test in that file of tests/, ``FILE`` all of it; a page
may have a ``#heading``; a section of the tour is named by how its title begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "inventory.md"

SIMULATED = "simulation/test_simulation.py::test_a_pattern_bears_what_goes_wrong"


@dataclass(frozen=True)
class Row:
    """One thing that the library does.

    Parameters:
        what: in a few words.
        pure: a test that needs no server.
        drivers: one that every driver passes on a real server.
        faults: one under faults: simulated, or with a server or a network that fails.
        measured: the benchmark.
        page: of the documentation.
        tour: the section.
    """

    what: str
    pure: str
    drivers: str
    faults: str
    measured: str
    page: str
    tour: str


CACHE, SESSIONS, LIMITS, LOCKS = "caching.md", "sessions.md", "rate-limits.md", "locks.md"
ROWS = {
    "Caching": [
        Row(
            "cache-aside",
            "drivers/test_cache.py::test_redis_that_is_away",
            "drivers/test_cache.py::test_values_are_values",
            "simulation/test_simulation.py::test_a_cache_in_all_orders",
            "caching.py",
            CACHE,
            "Cache",
        ),
        Row(
            "write-through",
            "simulation/test_simulation.py::test_a_cache_of_readers_who_wait",
            "drivers/test_cache.py::test_writing_through",
            SIMULATED,
            "caching.py",
            f"{CACHE}#writing-through",
            "Cache",
        ),
        Row(
            "write-behind",
            "drivers/test_write_behind.py::test_when_it_is_saved",
            "drivers/test_write_behind.py::test_writes_are_read_at_once_and_saved_later",
            "simulation/test_simulation.py::test_writing_behind_with_a_kill_at_every_point",
            "caching.py",
            "write-behind.md",
            "WriteBehind",
        ),
        Row(
            "stampede prevention",
            "simulation/test_simulation.py::test_a_cache_of_two_readers_in_all_orders",
            "drivers/test_cache.py::test_a_crowd_loads_once",
            "drivers/test_cache.py::test_a_loader_that_is_killed",
            "caching.py",
            CACHE,
            "Cache",
        ),
        Row(
            "stale while one loads",
            "drivers/test_cache.py::test_stale_values_end_when_they_should",
            "drivers/test_cache.py::test_stale_values",
            SIMULATED,
            "caching.py",
            CACHE,
            "Cache",
        ),
        Row(
            "invalidation by key, pattern and entity",
            "simulation/test_simulation.py::test_a_cache_of_two_readers_and_leases_that_end",
            "drivers/test_cache.py::test_by_pattern",
            SIMULATED,
            "caching.py",
            CACHE,
            "Cache",
        ),
    ],
    "Sessions": [
        Row(
            "create, several devices",
            "drivers/test_sessions.py::test_the_index_forgets_what_is_over",
            "drivers/test_sessions.py::test_all_sessions_of_a_user",
            "simulation/test_simulation.py::test_sessions_in_all_orders",
            "sessions.py",
            SESSIONS,
            "Sessions",
        ),
        Row(
            "get, sliding expiry",
            "drivers/test_sessions.py::test_it_ends_when_it_is_not_accessed",
            "drivers/test_sessions.py::test_nothing_brings_a_session_back",
            "simulation/test_simulation.py::test_sessions_in_all_orders",
            "sessions.py",
            SESSIONS,
            "Sessions",
        ),
        Row(
            "update by merging",
            "core/test_web_sessions.py::test_fields_are_removed",
            "drivers/test_sessions.py::test_compare_and_set",
            "simulation/test_simulation.py::test_sessions_in_all_orders",
            "sessions.py",
            SESSIONS,
            "Sessions",
        ),
        Row(
            "destroy one, destroy all, count",
            "core/test_web_sessions.py::test_login_and_logout",
            "drivers/test_sessions.py::test_all_sessions_of_a_user",
            SIMULATED,
            "sessions.py",
            SESSIONS,
            "Sessions",
        ),
        Row(
            "middleware and guard",
            "core/test_web_sessions.py::test_an_id_that_a_client_has_chosen_is_never_taken",
            "web/test_session_frameworks.py::test_a_visit",
            "web/test_asgi_sessions.py::test_redis_away",
            "sessions.py",
            SESSIONS,
            "Sessions",
        ),
    ],
    "Rate limits": [
        Row(
            "fixed window",
            "core/test_rate_limits.py::test_the_script_agrees_with_the_model",
            "drivers/test_patterns.py::test_every_limit",
            SIMULATED,
            "bench_limits.py",
            LIMITS,
            "FixedWindow",
        ),
        Row(
            "sliding window",
            "core/test_rate_limits.py::test_the_script_agrees_with_the_model",
            "drivers/test_patterns.py::test_every_limit",
            SIMULATED,
            "bench_limits.py",
            LIMITS,
            "FixedWindow and SlidingLog",
        ),
        Row(
            "token bucket",
            "core/test_rate_limits.py::test_the_largest_buckets_count_exactly",
            "drivers/test_patterns.py::test_token_bucket",
            SIMULATED,
            "bench_limits.py",
            LIMITS,
            "TokenBucket",
        ),
        Row(
            "middleware",
            "core/test_http.py::test_whose_request_it_is",
            "web/test_frameworks.py::test_exactly_the_limit_is_served",
            "web/test_asgi.py::test_redis_is_away",
            "bench_limits.py",
            f"{LIMITS}#over-http",
            "AllOf",
        ),
    ],
    "Locks": [
        Row(
            "acquire, release and extend by their holder",
            "core/test_locks.py::test_extend_and_release_tell_whether_it_was_held",
            "drivers/test_patterns.py::test_lock",
            "simulation/test_simulation.py::test_a_lock_in_all_orders",
            "hand_off.py",
            LOCKS,
            "Lock",
        ),
        Row(
            "a block under a lock",
            "core/test_locks.py::test_who_waits_stands_in_line_until_the_last_look",
            "drivers/test_patterns.py::test_hold",
            "faults/test_cancellation.py::test_hold_cancelled_at_every_checkpoint",
            "hand_off.py",
            LOCKS,
            "Lock",
        ),
        Row(
            "prolonged while it is held, loss noticed",
            "core/test_locks.py::test_keep_renews_at_a_third_of_the_ttl",
            "drivers/test_patterns.py::test_hold_tells_of_a_lost_lock",
            "faults/test_killed_holders.py::test_nobody_is_inside_with_another",
            "hand_off.py",
            LOCKS,
            "Lock",
        ),
    ],
    "Queues": [
        Row(
            "in order, with a worker and failed items",
            "simulation/test_simulation.py::test_queues_keep_their_order",
            "drivers/test_queues.py::test_items_that_fail",
            SIMULATED,
            "queues.py",
            "queues.md",
            "FifoQueue",
        ),
        Row(
            "by priority",
            "simulation/test_simulation.py::test_queues_keep_their_order",
            "drivers/test_queues.py::test_priorities",
            SIMULATED,
            "queues.py",
            "queues.md",
            "PriorityQueue",
        ),
        Row(
            "delayed",
            "drivers/test_queues.py::test_when_an_item_is_due",
            "drivers/test_queues.py::test_delayed_items",
            SIMULATED,
            "queues.py",
            "queues.md#later",
            "DelayedQueue",
        ),
        Row(
            "jobs that survive their workers",
            "core/test_workers.py::test_what_was_not_answered_is_sent_again",
            "drivers/test_work.py::test_jobs_are_done",
            "faults/test_killed_workers.py::test_no_job_is_lost",
            "queues.py",
            "jobs.md",
            "Jobs",
        ),
        Row(
            "once for each id",
            "core/test_once.py::test_one_claim_at_a_time",
            "drivers/test_once.py::test_a_crowd_does_it_once",
            "simulation/test_simulation.py::test_once_in_all_orders",
            "",
            "once.md",
            "Once",
        ),
    ],
    "Leaderboards": [
        Row(
            "scores, ranks, rows around a member",
            "core/test_board_model.py",
            "drivers/test_leaderboards.py::test_a_board_of_any_kind_is_a_sorted_list",
            "faults/test_boards_after_crash.py::test_a_log_that_is_cut_anywhere",
            "leaderboards.py",
            "leaderboards.md",
            "Leaderboard",
        ),
    ],
    "Counters": [
        Row(
            "increment",
            "core/test_counters.py::test_an_event_counts_once",
            "drivers/test_counters.py::test_a_counter",
            "simulation/test_simulation.py::test_counts_in_all_orders",
            "counters.py",
            "counters.md",
            "Counter",
        ),
        Row(
            "by minute, hour and day",
            "core/test_bucketed_counters.py::test_the_sum_of_a_range_is_what_was_accepted",
            "drivers/test_counters.py::test_counts_by_time",
            SIMULATED,
            "counters.py",
            "counters.md#by-time",
            "BucketedCounter",
        ),
        Row(
            "unique visitors",
            "core/test_uniques.py::test_a_member_counts_once",
            "drivers/test_counters.py::test_unique_members",
            SIMULATED,
            "counters.py",
            "counters.md#how-many-different-ones",
            "Uniques",
        ),
    ],
    "Feature flags": [
        Row(
            "set, with percentage and lists",
            "core/test_flags.py::test_a_writer_must_have_seen_the_version",
            "drivers/test_flags.py::test_two_writers",
            "simulation/test_simulation.py::test_flags_of_two_writers_in_all_orders",
            "flags.py",
            "flags.md",
            "Flags",
        ),
        Row(
            "the same answer for the same user",
            "core/test_flag_buckets.py::test_a_bucket_is_what_it_was",
            "drivers/test_flags.py::test_the_shape_of_everyday",
            "faults/test_flags.py::test_an_outage",
            "flags.py",
            "flags.md",
            "Flags",
        ),
    ],
    "The shape": [
        Row(
            "plans and flows without I/O",
            "test_imports.py::test_the_core_knows_the_standard_library_only",
            "drivers/test_conformance.py",
            "faults/test_network.py::test_once_is_never_twice",
            "bench_sync.py",
            "plans-and-flows.md",
            "batch",
        ),
        Row(
            "drivers for sync, asyncio and trio",
            "drivers/test_wire.py",
            "drivers/test_conformance.py",
            "faults/test_cancellation.py::test_a_plan_cancelled_at_every_checkpoint",
            "bench_async.py",
            "drivers.md",
            "batch",
        ),
        Row(
            "logic tested without a server",
            "testing/test_dry.py",
            "testing/test_memory.py::test_it_answers_as_a_real_server_does",
            "simulation/test_simulation.py::test_a_planted_bug_is_found",
            "",
            "testing.md",
            "",
        ),
    ],
}


def page() -> str:
    """Write the page."""
    lines = [
        "# What is shown where",
        "",
        "Each thing that the library does, a test of it that needs no server, one that every driver passes on a real",
        "server, one under faults, the benchmark, the page and the section of `redis-patterns tour`. This page is",
        "generated, and the tests check that all of it is there.",
        "",
    ]
    for group, rows in ROWS.items():
        lines += [f"## {group}", ""]
        lines += [
            "| | Without a server | Every driver | Under faults | Measured | Page | Tour |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            tests = [_test(name) for name in (row.pure, row.drivers, row.faults)]
            measured = f"`{row.measured}`" if row.measured else "-"
            title = row.page.partition("#")[0].removesuffix(".md")
            lines.append(
                f"| {row.what} | {' | '.join(tests)} | {measured} | [{title}]({row.page}) | {row.tour or '-'} |"
            )
        lines.append("")
    return "\n".join(lines)


def _test(name: str) -> str:
    file, _, test = name.partition("::")
    return f"`{test or file}`"


if __name__ == "__main__":
    PAGE.write_text(page())
