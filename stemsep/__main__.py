"""The whole program: make or read songs, preprocess, train, score, separate.

python -m stemsep --config configs/demo.py [--workdir runs/demo] [--song song.flac]
"""

import sys
import time
from pathlib import Path

from absl import flags

from stemsep import audio, command, evaluate, parallel, sinks
from stemsep.errors import InputError
from stemsep.pipeline import Pipeline


def main() -> None:
    """Run the command."""
    config_flag = command.define_config()
    workdir = flags.DEFINE_string("workdir", None, "the run; default: runs/<config.name>")
    song = flags.DEFINE_string(
        "song", None, "the song to separate; default: a test track of the source"
    )

    def run(arguments: list[str]) -> None:
        command.no_arguments(arguments)
        pipeline = Pipeline(command.checked_config(config_flag), workdir=workdir.value)
        sinks.check(pipeline.config)  # before an hour of work, not after it
        if song.value:
            audio.probe(song.value)
        parallel.prepare()
        parallel.one_process("python -m stemsep")
        begin_s = time.perf_counter()

        def passed() -> str:
            return f"[{(time.perf_counter() - begin_s) / 60:.1f} min]"

        config = pipeline.config
        print(f"{passed()} songs and spectrograms: {config.data.source} -> {config.store}")
        pipeline.preprocess()
        print(f"{passed()} training: {pipeline.run}")
        pipeline.train()
        print(f"{passed()} scores on the test tracks")
        try:
            pipeline.evaluate(baselines=evaluate.BASELINES, show=print)
            print(f"    to look at and listen to: {pipeline.workdir / 'report' / 'report.html'}")
        except InputError as problem:  # a source may have no test tracks
            print(f"no scores: {problem}", file=sys.stderr)
        except OSError as problem:
            print(f"the scores are not written: {command.describe(problem)}", file=sys.stderr)
        path = song.value or pipeline.example()
        if path:
            print(f"{passed()} separating {path}")
            show(pipeline, path)
        print(
            f"{passed()} done; separate your own songs with\n"
            f"    python -m stemsep.separate --checkpoint {pipeline.run} SONG_OR_FOLDER..."
        )

    command.run(run, config=True)


def show(pipeline: Pipeline, song: str | Path) -> None:
    """Separate a song; print where its stems and the picture of their spectrograms are."""
    stems = pipeline.separate(song)
    print("\n".join(f"    {name}: {file}" for name, file in stems.items()))
    try:
        print(f"    picture: {pipeline.picture(song, stems)}")
    except InputError as problem:
        print(f"no picture: {problem}", file=sys.stderr)


if __name__ == "__main__":
    main()
