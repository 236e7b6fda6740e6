"""Write the tables and plots of benchmarks/README.md from the lines in benchmarks/results.

    python -m benchmarks.report

Between the two marks in README.md everything is made anew; what stands outside is kept. Of several
results of the same work the last one of the files, in the order of their names, is told. The same
files give the same text. Needs matplotlib for the plots (the extra `benchmark`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import compare
from stemsep import command

HERE = Path(__file__).parent
BEGIN, END = ("<!-- made by python -m benchmarks.report: begin -->",
              "<!-- made by python -m benchmarks.report: end -->")
Line = dict[str, Any]


def number(value: Any) -> str:
    """Return three digits of a number that has them, or the text of what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) and abs(value) < 1e6:
        return str(value)
    if 1e-3 <= abs(value) < 1e5 or not value:
        text = f"{value:.3g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:.2e}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def mebibytes(value: float) -> str:
    return f"{value / 2 ** 20:.0f}"


def joined(value: Sequence[Any]) -> str:
    return "×".join(map(str, value))


def counts(value: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in value.items()) or "none"


Column = tuple[str, str, Callable[[Any], str]]      # a field, its heading, how it is written
WHO: Column = ("who", "who", str)
CONFIG: Column = ("config", "configuration", str)
TIMES: tuple[Column, ...] = (("median_s", "median, s", number), ("p90_s", "p90, s", number))
SPEED: tuple[Column, ...] = (
    ("audio_s_per_s", "s of audio a s", number),
    ("peak_memory_bytes", "peak memory, MiB", mebibytes))
RATIO: Column = ("ratio", "our speed over its", number)
WORK: tuple[Column, ...] = (("tflops_per_s", "TFLOP/s", number),
                            ("share_of_peak", "share of peak", percent))
BATCH: tuple[Column, ...] = (("batch", "batch", number), ("dtype", "dtype", str))
NETWORK: tuple[Column, ...] = (
    ("model", "network", str), ("widths", "widths", lambda value: "-".join(map(str, value))),
    ("shape_BTFC", "B×T×F×C", joined), ("dtype", "dtype", str))


@dataclass(frozen=True)
class Section:
    """A table: its heading, the benchmark whose lines it tells, its columns, and what a plot of it
    shows, if there is one: a field, or "" .
    """

    title: str
    benchmark: str
    columns: tuple[Column, ...]
    plot: str = "ratio"


SECTIONS = (
    Section("Train step", "train_step", (*NETWORK, WHO, RATIO, *TIMES, *SPEED, *WORK)),
    Section("Inference of the network", "inference", (*NETWORK, WHO, RATIO, *TIMES, *SPEED, *WORK)),
    Section("Separation of a file", "separate", (
        CONFIG, ("song_s", "song, s", number), *BATCH, WHO, RATIO, *TIMES, *SPEED)),
    Section("Memory of separation", "separate_memory", (
        CONFIG, ("minutes", "song, min", number), *BATCH, *SPEED[1:]), plot=""),
    Section("STFT", "stft", (
        ("direction", "direction", str), ("audio_s", "audio, s", number),
        ("channels", "channels", number), ("n_fft", "n_fft", number), ("hop", "hop", number), WHO,
        RATIO, ("ratio_of_jitted", "that of ours on the device", number), *TIMES, *SPEED)),
    Section("Loader", "loader", (
        CONFIG, ("cache", "page cache", str), *BATCH, ("frames", "frames", number), WHO, RATIO,
        ("batches_per_s", "batches a s", number), ("GB_per_s", "GB/s", number), *TIMES, *SPEED)),
    Section("Waiting for input", "input_wait", (
        CONFIG, ("steps", "steps", number), ("steps_per_s", "steps a s", number),
        ("input_wait", "share of time waited", percent)), plot=""),
    Section("Preprocessing", "preprocess", (
        CONFIG, WHO, RATIO, ("audio_h_per_core_minute", "h of stems a core-minute", number),
        ("speed_of_1_worker_on_1_core", "speed over that of 1 worker on 1 core", number), *TIMES,
        *SPEED)),
    Section("Memory of preprocessing", "preprocess_memory", (
        ("hours", "track, h", number), ("channels", "channels", number), ("stft", "STFT", str),
        *SPEED[1:]), plot=""),
    Section("Copies at another pitch and tempo", "variation", (
        CONFIG, WHO, ("audio_h_per_core_minute", "h of stems a core-minute", number),
        ("copies_h_per_core_minute", "of copies alone", number), *TIMES), plot=""),
    Section("Layouts of the store", "store_layout", (
        CONFIG, ("chunk_frames", "frames a chunk", number), ("shard_frames", "a shard", number),
        ("codec", "codec", str), ("batches_per_s", "batches a s", number),
        ("size_of_raw", "size over raw", number), ("write_MB_per_s", "written, MB/s", number),
        *TIMES), plot="batches_per_s"),
    Section("Operations of a train step", "operations", (
        CONFIG, *BATCH, ("place", "place", number), ("kind", "kind", str),
        ("operation", "operation", str), ("source", "of", str),
        ("share_of_time", "share of time", percent), ("times_a_step", "times a step", number),
        ("median_s", "median, s", number), ("step_s", "step, s", number)), plot=""),
    Section("Scaling over devices", "scaling", (
        CONFIG, ("scaling", "scaling", str), ("devices", "devices", number),
        ("virtual", "virtual", str), *BATCH, ("efficiency", "efficiency", percent),
        ("collectives", "collectives", counts),
        ("collective_bytes", "bytes combined a step", lambda value: f"{value:,}"), *TIMES, *SPEED,
        *WORK), plot="efficiency"),
    Section("Scaling on paper", "scaling_on_paper", (
        CONFIG, ("machine", "machine", str), ("device_batch", "windows a device", number), *BATCH,
        ("collectives", "collectives", counts),
        ("collective_bytes", "bytes combined a step", lambda value: f"{value:,}"),
        ("moved_bytes", "bytes sent by each device", lambda value: f"{value:,.0f}"),
        ("share_of_peak_assumed", "share of peak, assumed", percent), ("step_s", "step, s", number),
        ("all_reduce_s", "all-reduce, s", number),
        ("latency_s_assumed", "latency of each, assumed, s", number),
        ("efficiency_no_overlap", "efficiency, nothing overlaps", percent),
        ("efficiency_overlapped", "all overlaps", percent)), plot=""),
    Section("First step", "compile", (
        CONFIG, ("cache", "compilation cache", str), *TIMES, ("imported_s", "imported, s", number),
        ("compile_s", "compiled, s", number), ("command_s", "whole command, s", number)), plot=""),
    Section("End to end", "end_to_end", (
        ("what", "what", str), CONFIG, *BATCH, ("songs", "songs", number),
        ("song_s", "of, s", number), ("songs_per_hour", "songs an hour", number),
        ("steps_per_s", "steps a s", number), ("input_wait", "waited for input", percent), *TIMES,
        *SPEED, *WORK), plot=""),
    Section("BSS Eval", "bss_eval", (
        ("stems", "stems", number), ("channels", "channels", number),
        ("sample_rate", "Hz", number), ("audio_s", "audio, s", number), WHO, RATIO,
        ("max_difference_db", "largest difference, dB", number), *TIMES, *SPEED)),
    Section("Switches of training", "switches", (
        CONFIG, ("variation", "variation", str),
        ("step_s_per_base_s", "time over that of none", number), *TIMES,
        ("program_bytes", "program, MiB", mebibytes), ("compile_s", "compiled, s", number)),
        plot="step_s_per_base_s"),
)


def results(folder: Path) -> dict[str, list[Line]]:
    """Return the lines of a folder's files by their benchmark."""
    found: dict[compare.Key, Line] = {}
    for path in sorted(folder.glob("*.jsonl")):
        found |= compare.read(path)
    by_benchmark: dict[str, list[Line]] = {}
    for line in found.values():
        by_benchmark.setdefault(line["benchmark"], []).append(line)
    return by_benchmark


def text(lines: dict[str, list[Line]]) -> str:
    """Return all tables as Markdown, with the plots that they have."""
    return "\n\n".join(told(section, lines[section.benchmark]) for section in SECTIONS
                       if section.benchmark in lines)


def told(section: Section, lines: list[Line]) -> str:
    """Return a table, where its numbers are from, and its plot."""
    columns = [column for column in section.columns if any(column[0] in line for line in lines)]
    head = ["| " + " | ".join(heading for _, heading, _ in columns) + " |",
            "|" + "---|" * len(columns)]
    rows = ["| " + " | ".join(written(line[name]) if line.get(name) is not None else ""
                              for name, _, written in columns) + " |" for line in lines]
    parts = [f"### {section.title}", origin(lines), "\n".join([*head, *rows])]
    if drawn(section, lines):
        parts.append(f"![{section.title}](plots/{section.benchmark}.svg)")
    return "\n\n".join(parts)


def origin(lines: list[Line]) -> str:
    """Return in words what the lines were measured on: devices, versions, revisions."""
    devices = {"On paper, not measured" if "machine" in line else
               f"{line['device']} ({line['cpu']}, {line['cores']} cores)": None for line in lines}
    versions: dict[str, None] = {}
    for line in lines:
        versions |= {f"{name} {it}": None for name, it in line["versions"].items() if it}
    revisions = {line["revision"] or "unknown": None for line in lines}
    return (f"{'; '.join(devices)}. {', '.join(versions)}. Revision{'s' * (len(revisions) > 1)} "
            f"{', '.join(revisions)}.")


def drawn(section: Section, lines: list[Line]) -> list[Line]:
    """Return the lines that the plot of a table shows."""
    return [line for line in lines if section.plot and section.plot in line]


def inserted(readme: str, made: str) -> str:
    """Return a README with what stands between the marks replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md has not both marks, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Run the command."""
    command.no_arguments(arguments)
    from benchmarks import plots  # only now: tables need no matplotlib

    lines, path = results(HERE / "results"), HERE / "README.md"
    path.write_text(inserted(path.read_text(encoding="utf-8"), text(lines)), encoding="utf-8")
    for section in SECTIONS:
        if shown := drawn(section, lines.get(section.benchmark, [])):
            heading = next(column[1] for column in section.columns if column[0] == section.plot)
            plots.bars(HERE / "plots" / f"{section.benchmark}.svg", shown, section.plot, heading)


if __name__ == "__main__":
    command.run(main)
