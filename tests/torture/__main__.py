"""`make torture`: kill -9 at random, again and again, while facts come in; then count.

python -m tests.torture [--rounds 200] [--seed N] [--postgres] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.torture.rounds import Story, torture


def main() -> int:
    """Run it; the exit code is 1 where anything was lost, counted twice or counted wrong."""
    asked = _arguments()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 32)
    path = Path(tempfile.mkdtemp(prefix="ll-torture-"))
    print(f"seed {seed}, in {path}", file=sys.stderr, flush=True)
    story = torture(path, rounds=asked.rounds, seed=seed, on_database=asked.postgres, tell=_tell)
    if not story.violations:
        shutil.rmtree(path)
    print(json.dumps(story.plain(), indent=2) if asked.json else _words(story, path))
    return 1 if story.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how many times something is killed")
    parser.add_argument("--seed", type=int, help="of all chance; printed where none is given")
    parser.add_argument("--postgres", action="store_true", help="two machines over one PostgreSQL")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    return parser.parse_args()


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _words(story: Story, path: Path) -> str:
    kills = ", ".join(f"{name} {count}" for name, count in sorted(story.kills.items()))
    answers = ", ".join(f"{name} {count:,}" for name, count in sorted(story.answers.items()))
    lines = [
        f"{story.rounds} rounds over {story.store} in {story.seconds:.0f} s, seed {story.seed}.",
        f"Killed: {kills}.",
        f"Sent: {story.rows:,} rows in {story.batches:,} batches; answers: {answers}.",
        f"Acknowledged: {story.rows_acknowledged:,} rows.",
        f"In the log: {story.rows_in_the_log:,} rows, {story.rows_unsaid:,} of them without an answer.",
        f"Counted {story.counts} times: {len(story.violations) or 'no'} violations.",
        *story.violations,
    ]
    if story.violations:
        lines.append(f"What is left lies in {path}; again: make torture TORTURE='--seed {story.seed} ...'")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
