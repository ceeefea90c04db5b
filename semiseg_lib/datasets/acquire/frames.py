"""Video frames as additional unlabelled images."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from semiseg_lib.core.durable import Damaged, atomic_write, read_json, write_json
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.digest import file_hash
from semiseg_lib.datasets.labels import LabelError, decoding, opened_image

RECORD = "frames.json"
"""The file beside the frames that says what they were made from."""


def extract_frames(
    video: Path, folder: Path, every: int = 1, size: tuple[int, int] | None = None,
    progress: bool = True,
) -> int:
    """Write frames of a video as ``STEM_NNNNN.png``, numbered from 0 as in the video.

    ``folder`` is this video's alone. Frames of another file, or with other options, are replaced;
    an interrupted extraction is continued.

    Args:
        video: the file; STEM is its name without suffix.
        folder: the output folder.
        every: keep the frames 0, every, 2 every ...
        size: columns and rows to resize to; None keeps the video's own.
        progress: show a progress bar.

    Returns:
        The number of images of this video in ``folder``.

    Raises:
        FileNotFoundError: the video is missing.
        RuntimeError: the package ``av`` is missing.
        LabelError: the file is not a video, or is damaged.
        ValueError: ``every`` is < 1; or the folder holds images that were not extracted by this
            function.
    """
    video, folder = Path(video).expanduser(), Path(folder).expanduser()
    if every < 1:
        raise ValueError(f"every is {every}; it must be >= 1.")
    for number, image in _decoded(video, every, progress):
        if number == 0:  # so the file is a video
            _begin(video, folder, {"every": every, "size": list(size or image.size)})
        path = folder / f"{video.stem}_{number:05d}.png"
        if _is_whole(path):
            continue
        if size is not None and image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        with atomic_write(path) as temporary:
            image.save(temporary, format="PNG")
    return len(_frames(folder, video))


def _begin(video: Path, folder: Path, options: Mapping[str, Any]) -> None:
    """Record what the frames are made from; remove those that were made from something else."""
    record, made = folder / RECORD, {"video": file_hash(video), **options}
    try:
        if read_json(record) == made:
            return
    except FileNotFoundError:
        if found := _frames(folder, video):
            raise ValueError(
                f"{shown(folder)} holds {len(found)} images such as {found[0].name}, but no "
                f"{RECORD} that says what they were made from. Move the folder away."
            ) from None
    except Damaged:
        pass
    for path in _frames(folder, video):
        path.unlink()
    write_json(record, made)


def _frames(folder: Path, video: Path) -> list[Path]:
    return sorted(folder.glob(f"{glob.escape(video.stem)}_*.png"))


def _is_whole(path: Path) -> bool:
    try:
        with opened_image(path):
            return True
    except (FileNotFoundError, LabelError):
        return False


def _decoded(video: Path, every: int, progress: bool) -> Iterator[tuple[int, Image.Image]]:
    """Yield number and image of every ``every``-th frame."""
    try:
        import av
    except ImportError as error:
        raise RuntimeError(
            'the package av, which reads videos, is not installed: pip install "av>=14".'
        ) from error
    number = 0
    with decoding(video, "Copy or download the video again."), \
            av.open(str(video), options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise LabelError(f"{shown(video)} holds only sound. Pass a video.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        frames = progress_bar(container.decode(stream), desc=video.name, unit="frame",
                              total=stream.frames or None, disable=None if progress else True)
        for frame in frames:
            if number % every == 0:
                yield number, frame.to_image()
            number += 1
    if not number:
        raise LabelError(f"{shown(video)} holds no frame. Copy or download it again.")
