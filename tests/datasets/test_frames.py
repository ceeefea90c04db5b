"""Frames of a video: their numbers, their colours, and what is no video."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.acquire import extract_frames, frames

FRAMES, SIZE = 12, (64, 48)


def colour(number: int) -> tuple[int, int, int]:
    """A colour that tells the number."""
    return 20 + 15 * number, 128, 230 - 15 * number


@pytest.fixture
def video(tmp_path) -> Path:
    """Twelve frames of one colour each, the left half darker."""
    av = pytest.importorskip("av", reason="the package av, which reads videos, is not installed")
    path = tmp_path / "0016E5.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(FRAMES):
            pixels = np.full((SIZE[1], SIZE[0], 3), colour(number), np.uint8)
            pixels[:, : SIZE[0] // 2] //= 2
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    return path


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def middle(path: Path) -> np.ndarray:
    """The mean colours of the left and of the right half, away from their edge."""
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    width = pixels.shape[1]
    return np.stack([pixels[:, : width // 3].mean((0, 1)), pixels[:, -width // 3 :].mean((0, 1))])


@pytest.mark.parametrize(("every", "size"), [(1, None), (5, None), (4, (32, 24))])
def test_number_size_and_colour_of_every_frame(video, tmp_path, every, size):
    folder = tmp_path / "out"
    numbers = range(0, FRAMES, every)
    assert extract_frames(video, folder, every, size, progress=False) == len(numbers)
    assert images(folder) == [f"0016E5_{n:05d}.png" for n in numbers]
    for number in numbers:
        path = folder / f"0016E5_{number:05d}.png"
        assert Image.open(path).size == (size or SIZE)
        right = np.array(colour(number))
        # Neighbours differ by 15 in red and blue: within 6 is this frame and no other.
        np.testing.assert_allclose(middle(path), [right // 2, right], atol=6)


def test_an_interrupted_extraction_goes_on_and_leaves_what_is_there(video, tmp_path, monkeypatch):
    folder, original = tmp_path / "out", frames.atomic_write
    written = []

    def dying(path):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path.name)
        return original(path)

    monkeypatch.setattr(frames, "atomic_write", dying)
    with pytest.raises(KeyboardInterrupt):
        extract_frames(video, folder, progress=False)
    assert len(images(folder)) == 4
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    written.clear()
    monkeypatch.setattr(frames, "atomic_write", lambda p: written.append(p.name) or original(p))
    assert extract_frames(video, folder, progress=False) == FRAMES
    assert written == [f"0016E5_{n:05d}.png" for n in range(4, FRAMES)]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def make_video(path: Path, colours: list[int]) -> None:
    """Write frames of one grey each."""
    av = pytest.importorskip("av", reason="the package av, which reads videos, is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for grey in colours:
            pixels = np.full((32, 32, 3), grey, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())


def greys(folder: Path) -> list[int]:
    return [round(float(np.asarray(Image.open(folder / name)).mean()), -1)
            for name in images(folder)]


def test_what_was_extracted_from_something_else_is_replaced(tmp_path):
    """Another video of the same name, another step, another size; what is counted is there."""
    video, folder = tmp_path / "0016E5.mp4", tmp_path / "out"
    make_video(video, [40] * 8)
    assert extract_frames(video, folder, progress=False) == 8 and greys(folder) == [40] * 8
    make_video(video, [200] * 8)
    assert extract_frames(video, folder, progress=False) == 8 and greys(folder) == [200] * 8
    assert extract_frames(video, folder, 4, progress=False) == 2
    assert images(folder) == ["0016E5_00000.png", "0016E5_00004.png"]
    assert extract_frames(video, folder, 4, (16, 16), progress=False) == 2
    assert {Image.open(path).size for path in folder.glob("*.png")} == {(16, 16)}
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert extract_frames(video, folder, 4, (16, 16), progress=False) == 2
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_damaged_frame_or_record_is_made_again(tmp_path):
    video, folder = tmp_path / "0016E5.mp4", tmp_path / "out"
    make_video(video, [40] * 4)
    extract_frames(video, folder, progress=False)
    frame, record = folder / "0016E5_00002.png", folder / "frames.json"
    before = frame.read_bytes(), record.read_bytes()
    for path in (frame, record):
        path.write_bytes(path.read_bytes()[:50])
        assert extract_frames(video, folder, progress=False) == 4
        assert (frame.read_bytes(), record.read_bytes()) == before


def test_images_of_ones_own_are_not_replaced(tmp_path):
    video, folder = tmp_path / "0016E5.mp4", tmp_path / "out"
    make_video(video, [40] * 4)
    folder.mkdir()
    own = folder / "0016E5_00002.png"
    Image.new("RGB", (32, 32)).save(own)
    before = own.read_bytes()
    with pytest.raises(ValueError, match=r"holds 1 images such as 0016E5_00002\.png, but no fram"):
        extract_frames(video, folder, progress=False)
    assert own.read_bytes() == before and len(list(folder.iterdir())) == 1


def test_what_is_no_video_says_so(video, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all\n" * 50, encoding="utf-8")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[:600])
    for path in (text, cut):
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read.*download the video"):
            extract_frames(path, tmp_path / "out", progress=False)
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4 is missing"):
        extract_frames(tmp_path / "absent.mp4", tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="every is 0; it must be >= 1"):
        extract_frames(video, tmp_path / "out", every=0)
    assert not (tmp_path / "out").exists()


def test_sound_alone_is_no_video(tmp_path):
    av = pytest.importorskip("av", reason="the package av, which reads videos, is not installed")
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        for packet in stream.encode(sound):
            container.mux(packet)
    with pytest.raises(ValueError, match=r"sound\.wav holds only sound"):
        extract_frames(path, tmp_path / "out", progress=False)


def test_without_av_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RuntimeError, match=r'not installed: pip install "av>=14"'):
        extract_frames(tmp_path / "a.mp4", tmp_path)


def test_the_command_puts_them_where_camvid_looks(video, tmp_path, capsys):
    options = ["--root", str(tmp_path), "--every", "6", "--size", "32", "24"]
    from semiseg_lib.cli import data as command

    assert command.run(["frames", str(video), *options]) == 0
    folder = tmp_path / "camvid" / "frames" / "0016E5"
    assert images(folder) == ["0016E5_00000.png", "0016E5_00006.png"]
    assert Image.open(folder / "0016E5_00006.png").size == (32, 24)
    assert "2 frames of 0016E5.mp4" in capsys.readouterr().out
