"""The whole path from songs to stems, in one object."""

from pathlib import Path
from typing import Any, Callable, Sequence

from stemsep import audio, datasets, evaluate, preprocess, report, train
from stemsep.checkpoint import local
from stemsep.config import Config
from stemsep.jobs import song_name
from stemsep.separator import Separator


class Pipeline:
    """``Pipeline(config).preprocess().train().separate(song)``; each step can be called alone.

    What is there already is not made again, so a step that is called later, by another process,
    finds what an earlier one left. workdir: the run, which `--checkpoint` of the commands takes;
    runs/<config.name> if not given. Of a run in a bucket, what is no checkpoint goes there too.
    """

    def __init__(self, config: Config, *, workdir: str | Path | None = None) -> None:
        self.config = config.check()
        self.run = workdir or f"runs/{config.name}"
        self.workdir = local(self.run, config.name)

    def preprocess(self) -> "Pipeline":
        """Bring the store up to date with its source; missing demo songs are made first."""
        preprocess.preprocess(self.config)
        return self

    def train(self) -> "Pipeline":
        """Train the network, or go on where the workdir stopped."""
        train.train(self.config, self.run)
        return self

    def separator(self) -> Separator:
        """Return the separator of the run's best checkpoint."""
        return Separator.load(self.run)

    def separate(self, song: str | Path, output: str | Path | None = None) -> dict[str, Path]:
        """Separate a file into <output>/<stem>.wav and return their paths; output:
        <workdir>/separated/<song>.
        """
        folder = Path(output or self.workdir / "separated" / song_name(Path(song)))
        return self.separator().separate_file(song, folder)

    def evaluate(
        self, split: str = "test", *, baselines: Sequence[str] = (evaluate.MIXTURE,),
        show: Callable[[str], Any] = lambda table: None,
    ) -> dict[str, Any]:
        """Score the run on a split of its source; returns what <workdir>/report/scores.json holds.

        Beside it <workdir>/report/report.html shows them and plays tracks. show: is called with
        their table.
        """
        return evaluate.evaluate_source(
            self.separator(), self.config.data.source, split, output=self.workdir / "report",
            checkpoint=str(self.run), baselines=baselines, show=show,
        )

    def example(self) -> Path | None:
        """Return the mixture of a test track, which the network was not trained on.

        Without a test track whose mixture is a file of its own: None.
        """
        c = self.config
        tracks = datasets.tracks(c.data.source, stems=c.stems, recipe=c.data.recipe, faults={})
        return next((track.mixture.path for track in tracks if track.split == "test"
                     and track.mixture and not track.mixture.part), None)

    def picture(self, song: str | Path, stems: dict[str, Path]) -> Path:
        """Draw the spectrograms of a song and its stems, beside the stems; returns the PNG."""
        path = next(iter(stems.values())).parent / "spectrograms.png"
        waves, rate = {}, 0
        for name, file in {"mixture": Path(song), **stems}.items():
            rate = audio.probe(file).sample_rate
            waves[name], _ = audio.read(file, samples=30 * rate)
        report.picture(path, waves, rate, title=song_name(Path(song)))
        return path
