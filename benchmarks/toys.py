"""What every algorithm earns on the toy of the generic tests: a contextual bandit whose best action earns 0.

python -m benchmarks.toys
"""

from __future__ import annotations

from benchmarks.harness import save
from tests.algos.test_toys import acts_on_numbers, bandit_reward
from tests.algos.zoo import PAIRS


def main() -> None:
    """Run each in turn, a minute or two in all, and keep the record: name -> kind of action -> mean reward."""
    record: dict[str, dict[str, float]] = {}
    for name, kind in PAIRS:
        if acts_on_numbers(name):
            record.setdefault(name, {})[kind] = round(bandit_reward(name, kind), 3)
    save("toys", record)


if __name__ == "__main__":
    main()
