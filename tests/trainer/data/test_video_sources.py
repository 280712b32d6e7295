"""Which videos there are, what is said of them, and which split each is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.data.corpus import CorpusError
from trainer.data.video_sources import captioned, captions_of_name, find_videos


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def table(folder: Path, text: str) -> Path:
    path = folder / "captions.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("stem", "first"),
    [
        ("jumping_jacks_03", "a person is jumping jacks"),
        ("CartWheel-2", "a person does cart wheel"),
        ("walks down a street 2", "a person walks down a street"),
        ("an_old_man_sits", "an old man sits"),
        ("tennis_03", "a person does tennis"),
    ],
)
def test_names_say_what_is_done(stem: str, first: str) -> None:
    assert captions_of_name(stem)[0] == first


@pytest.mark.parametrize("stem", ["IMG_0012", "VID_20260101_120000", "MVI-7", "clip 3", "0001"])
def test_names_that_cameras_give_say_nothing(stem: str) -> None:
    assert captions_of_name(stem) == ()


def test_folders_are_searched_and_each_file_counts_once(tmp_path: Path) -> None:
    make(tmp_path, "b.MP4", "sub/a.mov", "sub/b.mp4", "notes.txt", ".hidden", "My walk.avi")
    found = find_videos([tmp_path, tmp_path / "b.MP4", tmp_path / "sub"])
    assert [source.name for source in found] == ["My walk.avi", "b.MP4", "sub/a.mov", "sub/b.mp4"]
    ids = [source.video_id for source in found]
    assert ids == ["v-My-walk", "v-b", "v-sub-a", "v-sub-b"]
    assert all(" " not in name and "/" not in name for name in ids)


def test_names_that_would_be_alike_are_told_apart(tmp_path: Path) -> None:
    make(tmp_path, "a b.mp4", "a-b.mp4", "one/x.mp4", "two/x.mp4")
    found = find_videos([tmp_path, tmp_path / "one", tmp_path / "two"])
    assert len({source.video_id for source in found}) == 4


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no file or folder"):
        find_videos([tmp_path / "none"])
    with pytest.raises(CorpusError, match="No video in"):
        find_videos([make(tmp_path / "empty", "notes.txt")])


def test_table_beats_text_beats_name(tmp_path: Path) -> None:
    make(tmp_path, "IMG_1.mp4", "sub/two.mp4", "walks.mp4", "IMG_4.mp4", "IMG_5.mp4")
    (tmp_path / "walks.txt").write_text("a person strolls#x/OTHER#0#0\n\n a person  ambles \n")
    text = "Video, caption,start,end,split\n"
    text += "IMG_1,a person waves,0,2.5,\nIMG_1.mp4,someone greets,0,2.5,test\n"
    text += "IMG_1,a person bows,3,,\n"
    text += "sub/two.mp4,a person hops,,,val\nnowhere,a person,,,\n"
    sources, warnings = captioned(find_videos([tmp_path]), table(tmp_path, text), "a person moves")
    by_name = {source.name: source for source in sources}
    waves, bows = by_name["IMG_1.mp4"].parts
    assert waves.captions == ("a person waves", "someone greets")
    assert (waves.start, waves.end, bows.start, bows.end) == (0.0, 2.5, 3.0, None)
    assert by_name["IMG_1.mp4"].split == "test"
    assert by_name["sub/two.mp4"].split == "val"
    assert by_name["walks.mp4"].parts[0].captions == ("a person strolls", "a person ambles")
    assert by_name["IMG_4.mp4"].parts[0].captions == ("a person moves",)
    assert ["nowhere" in warning for warning in warnings] == [True]
    without, _ = captioned(find_videos([tmp_path / "IMG_5.mp4"]), None, None)
    assert without[0].parts == ()


def test_a_whole_path_names_a_video_too(tmp_path: Path) -> None:
    make(tmp_path, "one/x.mp4", "two/x.mp4")
    path = (tmp_path / "two" / "x.mp4").resolve().as_posix()
    rows = table(tmp_path, f"video,caption\n{path},a person leaps\n")
    sources, warnings = captioned(find_videos([tmp_path / "one", tmp_path / "two"]), rows, None)
    assert warnings == []
    assert [s.parts[0].captions[0] for s in sources if s.path.parent.name == "two"] == [
        "a person leaps"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,caption\na,b\n", "needs video"),
        ("video,caption\na,\n", "line 2: there is no caption"),
        ("video,caption,split\na,b,dev\n", "needs one of train, val, test"),
        ("video,caption,start,end\na,b,4,3\n", "before it starts"),
        ("video,caption,start\na,b,soon\n", "start is 'soon'"),
        ("video,caption\n", "no row"),
    ],
)
def test_wrong_tables_give_a_line(tmp_path: Path, text: str, message: str) -> None:
    make(tmp_path, "a.mp4")
    with pytest.raises(CorpusError, match=message):
        captioned(find_videos([tmp_path]), table(tmp_path, text), None)


def test_splits_go_by_name_and_hold_some_out_of_a_dozen(tmp_path: Path) -> None:
    make(tmp_path, *(f"dance_{number}.mp4" for number in range(12)))
    first, _ = captioned(find_videos([tmp_path]), None, None)
    again, _ = captioned(find_videos([tmp_path])[::-1], None, None)
    splits = {source.name: source.split for source in first}
    assert splits == {source.name: source.split for source in again}
    assert sorted(splits.values()).count("train") == 8
    assert sorted(splits.values()).count("test") == 2
    make(tmp_path / "few", "hop_1.mp4", "hop_2.mp4", "hop_3.mp4")
    few, _ = captioned(find_videos([tmp_path / "few"]), None, None)
    assert {source.split for source in few} == {"train"}


def test_where_the_table_names_any_for_test_no_other_goes_there(tmp_path: Path) -> None:
    make(tmp_path, *(f"walks_{number}.mp4" for number in range(12)))
    text = (
        "video,caption,split\nwalks_3.mp4,a person walks,test\nwalks_4.mp4,a person walks,train\n"
    )
    sources, _ = captioned(find_videos([tmp_path]), table(tmp_path, text), None)
    splits = {source.name: source.split for source in sources}
    assert [name for name, split in splits.items() if split == "test"] == ["walks_3.mp4"]
    assert list(splits.values()).count("val") == 1
    assert splits["walks_4.mp4"] == "train"
