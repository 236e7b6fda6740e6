"""What a store holds, and whether it is whole.

python -m stemsep.store info STORE
python -m stemsep.store verify STORE
"""

import sys

from tqdm import tqdm

from stemsep import command, log
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.section import unknown
from stemsep.store import Store
from stemsep.store.verify import contents, verify

ACTIONS = ("info", "verify")


def main() -> None:
    """Run the command; `verify` ends with status 1 when something is wrong."""
    command.run(run)


def run(arguments: list[str]) -> int:
    """Do what the arguments ask for: an action, and the path of a store."""
    if len(arguments) != 2:
        raise InputError("give an action and a store, as in verify data/stores/demo; actions: "
                         + ", ".join(ACTIONS))
    action, path = arguments
    if action not in ACTIONS:
        raise InputError(unknown("there is no action", action, ACTIONS))
    store = Store.open(path)
    if action == "info":
        print(contents(store))
        return 0
    wrong = count = 0
    total = sum(len(list((store.path / "index" / split).glob("*.json"))) for split in SPLITS)
    with log.progress(total, "verify", unit="track") as bar:
        for name, faults in verify(store):
            count += 1
            wrong += bool(faults)
            for fault in faults:
                tqdm.write(f"{name}: {fault}", file=sys.stderr)
            bar.update()
    print(f"{path}: {count - wrong} of {count} tracks are whole"
          + (f"; {wrong} are not" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
