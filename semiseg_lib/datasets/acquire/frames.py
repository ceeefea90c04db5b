"""Video frames as additional unlabelled images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.labels import LabelError, decoding, opened_image


def extract_frames(
    video: Path, folder: Path, every: int = 1, size: tuple[int, int] | None = None,
    progress: bool = True,
) -> int:
    """Write frames of a video as ``STEM_NNNNN.png``, numbered from 0 as in the video.

    Existing images are kept, so an interrupted extraction can be resumed.

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
        ValueError: ``every`` is < 1; or an existing image has another size.
    """
    video, folder = Path(video), Path(folder)
    if every < 1:
        raise ValueError(f"every is {every}; it must be >= 1.")
    count = 0
    for number, image in _decoded(video, every, progress):
        path = folder / f"{video.stem}_{number:05d}.png"
        wanted = size or image.size
        count += 1
        if path.is_file():
            _check_size(path, wanted)
            continue
        if image.size != wanted:
            image = image.resize(wanted, Image.Resampling.BICUBIC)
        with atomic_write(path) as temporary:
            image.save(temporary, format="PNG")
    return count


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
        frames = tqdm(container.decode(stream), desc=video.name, unit="frame",
                      total=stream.frames or None, disable=None if progress else True)
        for frame in frames:
            if number % every == 0:
                yield number, frame.to_image()
            number += 1
    if not number:
        raise LabelError(f"{shown(video)} holds no frame. Copy or download it again.")


def _check_size(path: Path, wanted: tuple[int, int]) -> None:
    with opened_image(path) as there:
        size = there.size
    if size != wanted:
        raise ValueError(
            f"{shown(path)} exists with {size[0]}x{size[1]} pixels, not "
            f"{wanted[0]}x{wanted[1]}. Move the folder away, or request the existing size."
        )
