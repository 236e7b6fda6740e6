"""What a store holds, and whether it is whole.

python -m stemsep.store info STORE
python -m stemsep.store verify STORE
python -m stemsep.store verify s3://bucket/store --endpoint http://127.0.0.1:9000
"""

import sys

from absl import flags
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
    endpoint = flags.DEFINE_string(
        "endpoint", "", "address of a service that speaks S3; empty: AWS_ENDPOINT_URL, or Amazon's")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow the store
    command.run(lambda arguments: run(arguments, endpoint.value))


def run(arguments: list[str], endpoint: str = "") -> int:
    """Do what the arguments ask for: an action, and the path of a store."""
    if len(arguments) != 2:
        raise InputError("give an action and a store, as in verify data/stores/demo; actions: "
                         + ", ".join(ACTIONS))
    action, path = arguments
    if action not in ACTIONS:
        raise InputError(unknown("there is no action", action, ACTIONS))
    store = Store.open(path, endpoint=endpoint)
    if action == "info":
        print(contents(store))
        return 0
    wrong = count = 0
    total = sum(len(store.names(split)) for split in SPLITS)
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
