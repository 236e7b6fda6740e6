"""`list:`: the files of a CSV, JSON or JSON Lines file, and every mistake with its line."""

import json
from pathlib import Path

import pytest

from stemsep import datasets
from stemsep.audio import Clip
from stemsep.config import REST, Config
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.preprocess import preprocess
from stemsep.store import Store
from tests import trees

HEAD = "track,split,stem,path,start,end\n"


def listed(file: Path, text: str | bytes) -> str:
    """Write a list, beside a.wav and b.wav; returns its source."""
    for seed, name in enumerate(("a.wav", "b.wav")):
        if not (file.parent / name).exists():
            trees.write(file.parent / name, trees.noise(8000, seed=seed))
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"list:{file}"


def fault(file: Path, text: str | bytes) -> str:
    """Return the sentence that a list, or its only track, is refused with; it names the list."""
    with pytest.raises(InputError) as caught:
        datasets.tracks(listed(file, text), stems=("drums", REST))
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    return str(caught.value).replace(str(file), file.name)


def test_a_table(tmp_path: Path) -> None:
    for name in ("perc/1.wav", "perc/2.flac", "perc/cover.jpg", "perc/.3.wav"):
        trees.write(tmp_path / name, trees.noise(10)) if "jpg" not in name else (
            tmp_path / name).write_text("")
    text = (f'{HEAD}"Hey, Jude",train,drums,a.wav,1,2.5\n"Hey, Jude",,Drums,perc/*,,\n'
            '"Hey, Jude",train,mix,b.wav,,\n\nlast,dev,bass,b.wav,0.5,\n'
            f"absolute,TEST,drums,{tmp_path}/b.wav,,\n")
    tracks = {t.name: t for t in datasets.tracks(listed(tmp_path / "songs.csv", text),
                                                 stems=("drums", REST))}
    assert {name: track.split for name, track in tracks.items()} == {
        "Hey, Jude": "train", "last": "validation", "absolute": "test"}
    song = tracks["Hey, Jude"]
    assert song.stems == {"drums": (
        Clip(tmp_path / "a.wav", 1.0, 2.5), Clip(tmp_path / "perc/1.wav"),
        Clip(tmp_path / "perc/2.flac")), REST: ()}
    assert song.mixture == Clip(tmp_path / "b.wav")
    assert tracks["last"].stems[REST] == (Clip(tmp_path / "b.wav", 0.5),)


ROWS = [{"track": "one", "split": "train", "stem": "drums", "path": "a.wav", "start": 0.25},
        {"track": 2, "split": "test", "stem": "bass", "path": "b.wav", "end": None}]


@pytest.mark.parametrize("name, text", [
    ("songs.json", json.dumps(ROWS)),
    ("songs.jsonl", "\n\n".join(map(json.dumps, ROWS))),
    ("songs.csv", "track,split,stem,path,start\none,train,drums,a.wav,0.25\n2,test,bass,b.wav"),
    ("songs.csv", "Track;Split;Stem;Path;Start\r\none;train;drums;a.wav;0.25\r\n"
     "2;test;bass;b.wav;\r\n"),
    ("songs.tsv", "track\tsplit\tstem\tpath\tstart\none\ttrain\tdrums\ta.wav\t0.25\n"
     "2\ttest\tbass\tb.wav\t"),
    ("songs.csv", "\ufefftrack,split,stem,path,start\none,train,drums,a.wav,0.25\n"
     "2,test,bass,b.wav,\n"),
])
def test_all_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    two, one = datasets.tracks(listed(tmp_path / name, text), stems=("drums", "bass"))
    assert (one.name, one.split, two.name, two.split) == ("one", "train", "2", "test")
    assert one.stems == {"drums": (Clip(tmp_path / "a.wav", 0.25),), "bass": ()}
    assert two.stems == {"drums": (), "bass": (Clip(tmp_path / "b.wav"),)}


def test_without_splits_the_names_divide(tmp_path: Path) -> None:
    lines = "".join(f"song {number},drums,a.wav\n" for number in range(20))
    tracks = datasets.tracks(listed(tmp_path / "s.csv", "track,stem,path\n" + lines),
                             stems=("drums",))
    assert {track.split for track in tracks} == set(SPLITS)


def test_training_songs_validate_where_none_does(tmp_path: Path) -> None:
    lines = "".join(f"song {number},train,drums,a.wav\n" for number in range(20))
    tracks = datasets.tracks(
        listed(tmp_path / "s.csv", f"track,split,stem,path\n{lines}last,test,drums,b.wav\n"),
        stems=("drums",))
    assert {track.split for track in tracks} == set(SPLITS)
    assert [track.name for track in tracks if track.split == "test"] == ["last"]


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    trees.write(tmp_path / "[set] 1" / "drums [live].wav", trees.noise(10))
    trees.write(tmp_path / "[set] 1" / "deep" / "bass.wav", trees.noise(10))
    text = "track,stem,path\nx,drums,drums [live].wav\nx,bass,**/bass*\n"
    source = listed(tmp_path / "[set] 1" / "s.csv", text)
    (track,) = datasets.tracks(source, stems=("drums", "bass"))
    assert [clip.name for clips in track.stems.values() for clip in clips] == [
        "drums [live].wav", "bass.wav"]


@pytest.mark.parametrize("text, words", [
    ("", "s.csv: lists no files"), (HEAD, "s.csv: lists no files"),
    ("track,stem\nx,drums\n", "s.csv, line 1: there is no 'path', only stem, track; name the"),
    ("x,train,drums,a.wav\n", "line 1: there is no 'track'"),
    ("track,stem,path,path\n", "line 1: there are two columns 'path'"),
    ("track,stem,path,spilt\nx,drums,a.wav,train\n", "'spilt' is no column; did you mean 'split'"),
    (f"{HEAD}x,train,drums,a.wav,0,1,2\n", "line 2: has 7 fields, and the first line 6; put names"),
    (f"{HEAD},train,drums,a.wav,,\n", "line 2: the track is empty"),
    (f"{HEAD}x,train,,a.wav,,\n", "line 2: the stem is empty"),
    (f"{HEAD}x,train,drums\n", "line 2: the path is empty"),
    (f"{HEAD}x,trian,drums,a.wav,,\n", "line 2: there is no split 'trian'; did you mean 'train'?"),
    (f"{HEAD}x,train,drums,a.wav,2,1\n", "line 2: it starts at 2 s and ends at 1 s"),
    (f"{HEAD}x,train,drums,a.wav,1,1\n", "line 2: it starts at 1 s and ends at 1 s"),
    (f"{HEAD}x,train,drums,a.wav,soon,\n", "line 2: the start is 'soon', which is no number"),
    (f'{HEAD}x,train,drums,a.wav,"1,5",\n', "line 2: the start is '1,5', which is no number"),
    (f"{HEAD}x,train,drums,a.wav,nan,\n", "line 2: the start is 'nan', which is no number"),
    (f"{HEAD}x,train,drums,a.wav,,inf\n", "line 2: the end is 'inf', which is no number"),
    (f"{HEAD}x,train,drums,a.wav,-1,\n", "line 2: the start is '-1', which is no number"),
    (f"{HEAD}x,train,drums,a.wav,,\n\nx,test,bass,b.wav,,\n",
     "line 4: puts x in 'test', and s.csv, line 2 in 'train'"),
    (f"{HEAD}x,train,drums,a.wav,,\ny,,bass,b.wav,,\n", "line 3: y has no split, and other tracks"),
    (f'{HEAD}x,train,drums,"a.wav,,\n', "is no line of a table"),
    (f"{HEAD}../x,train,drums,a.wav,,\n", "line 2: a track cannot be called '../x'"),
    (f"{HEAD}..,train,drums,a.wav,,\n", "line 2: a track cannot be called '..'"),
    (f"{HEAD}x\0,train,drums,a.wav,,\n", "line 2: a track cannot be called"),
    (f"{HEAD}{'x' * 300},train,drums,a.wav,,\n", "line 2: the name of the track is 300 bytes"),
    (f"{HEAD}x,train,drums,a\0.wav,,\n", "line 2: the path has a zero byte"),
    (HEAD.encode("utf-16"), "s.csv: is not UTF-8 (byte 0); save it as UTF-8"),
    (f"{HEAD}x,train,drums,none.wav,,\n", "line 2: there is no file"),
    (f"{HEAD}x,train,drums,none/*.wav,,\n", "line 2: no audio file matches"),
    (f"{HEAD}x,train,drums,s.csv*,,\n", "line 2: no audio file matches"),
    (f"{HEAD}x,train,drums,.,,\n", "is a folder; name the files in it, as in *.wav"),
    (f"{HEAD}x,train,drums,a.wav,,\nx,train,bass,./a.wav,,\n",
     "line 3: a.wav is in s.csv, line 2 too, and would be added up twice"),
    (f"{HEAD}x,train,mix,a.wav,,\n", "line 2: x has a mixture and no stems"),
    (f"{HEAD}x,train,drums,a.wav,1,2\nx,train,mix,*.wav,,\n", "line 3: b.wav is a second mixture"),
])
def test_faults_of_tables(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in fault(tmp_path / "s.csv", text).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("name, text, words", [
    ("s.json", "{", "s.json: is no JSON"), ("s.json", "", "s.json: lists no files"),
    ("s.json", '{"track": 1}', "must be a list of objects"),
    ("s.json", "[1]", "entry 1: must be an object"),
    ("s.jsonl", '{"track": "x", "stem": "drums", "path": "a.wav"}\n{', "line 2: is no JSON"),
    ("s.json", '[{"track": "x", "stem": "drums", "path": ["a.wav"]}]', "the path must be text"),
    ("s.json", '[{"track": "\\ud800", "stem": "drums", "path": "a.wav"}]', "cannot be called"),
    ("s.json", '[{"track": "x", "stem": "drums", "path": "a.wav", "end": NaN}]', "the end is nan"),
    ("s.json", '[{"track": "x", "stem": "drums", "path": "a.wav", "end": true}]', "end is True"),
    ("s.txt", "", "s.txt: is no list by its name; it must end in one of .csv, .tsv, .json, .jsonl"),
])
def test_faults_of_json_and_names(tmp_path: Path, name: str, text: str, words: str) -> None:
    assert words in fault(tmp_path / name, text)


def test_no_list(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "is a folder; name the list"),
                        (tmp_path / "none.csv", "cannot be read (No such file")):
        with pytest.raises(InputError) as caught:
            datasets.tracks(f"list:{path}", stems=("drums",))
        assert words in str(caught.value)


def test_columns_that_mean_nothing_are_said(tmp_path: Path) -> None:
    remarks = datasets.Remarks()
    text = "track,stem,path,bpm,,artist\nx,drums,a.wav,9,,me\n"
    datasets.tracks(listed(tmp_path / "s.csv", text), stems=("drums",), remarks=remarks)
    assert remarks.warnings == ["s.csv has columns that mean nothing here: artist, bpm"]


def test_a_faulty_track_does_not_stop_the_others_and_a_changed_start_is_noticed(
        tmp_path: Path) -> None:
    def run(start: str) -> tuple:
        text = (f"{HEAD}x,train,drums,a.wav,{start},\nx,train,bass,b.wav,,0.5\n"
                "y,dev,drums,none.wav,,\nz,test,drums,a.wav,5,\n")
        c = Config()
        c.audio.sample_rate, c.audio.n_fft, c.audio.hop = trees.RATE, 64, 16
        c.data.source = listed(tmp_path / "s.csv", text)
        c.data.store, c.data.workers = str(tmp_path / "store"), 1
        return preprocess(c.check(), progress=False), Store.open(c.store)

    summary, store = run("0.25")
    assert summary.written == ["train/x"] and set(summary.failed) == {"validation/y", "test/z"}
    assert "lasts 1.00 s, and from 5 s on nothing is left" in summary.failed["test/z"]
    record = store.record("train", "x")
    assert record.samples == 6000
    assert {file[0] for files in record.sources.values() for file in files} == {
        "a.wav#t=0.25", "b.wav#t=0,0.5"}        # below the list's folder, so that it can move
    assert run("0.25")[0].kept == ["train/x"]
    assert run("0.2500001")[0].written == ["train/x"]
