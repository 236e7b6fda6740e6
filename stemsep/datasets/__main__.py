"""What is in a source, and what is wrong with it.

python -m stemsep.datasets slakh:/data/slakh2100 [--recipe recipe.yaml] [--nolisten]
"""

import functools

from absl import flags

from stemsep import command, datasets, engine, log
from stemsep.datasets.inspect import Look, look, summary
from stemsep.errors import InputError


def main() -> None:
    """Run the command; its status is 1 when songs had to be left out."""
    recipe = flags.DEFINE_string("recipe", "", "YAML that groups stem files")
    listen = flags.DEFINE_bool(
        "listen", True, "read all audio: silence, clipping, twins, sums; else only the headers")
    workers = flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow the source

    def run(arguments: list[str]) -> int:
        if len(arguments) != 1:
            raise InputError("give one source, as in slakh:/data/slakh2100")
        faults: dict[str, InputError] = {}
        remarks = datasets.Remarks()
        looks = inspect(arguments[0], faults, remarks, recipe=recipe.value, listen=listen.value,
                        workers=workers.value)
        print(summary(arguments[0], looks, faults, remarks))
        return 1 if faults else 0

    command.run(run)


def inspect(source: str, faults: dict[str, InputError], remarks: datasets.Remarks, *, recipe: str,
            listen: bool, workers: int) -> list[Look]:
    """Look at all tracks of a source, with a progress bar; faults and remarks as `tracks` has them.
    """
    tracks = datasets.tracks(source, stems=None, recipe=recipe, faults=faults, remarks=remarks)
    looks = []
    with log.progress(len(tracks), "looking", unit="track") as bar:
        for track, result in engine.run(functools.partial(look, listen=listen), tracks,
                                        workers=workers):
            if isinstance(result, (InputError, engine.WorkerDied)):
                faults[f"{track.split}/{track.name}"] = InputError(str(result))
            elif isinstance(result, Exception):
                raise result
            else:
                looks.append(result)
            bar.update()
    return sorted(looks, key=lambda found: (found.split, found.name))


if __name__ == "__main__":
    main()
