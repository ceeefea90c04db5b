"""Published lists: every repository's way of writing an image gives the same bare name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from semiseg_lib.datasets.lists import list_digest, read_published_list, write_list

VOC = ("2007_000032", "2011_003261")
CITY = ("aachen_000000_000019", "ulm_000094_000019")

FORMATS = {
    "TorchSemiSeg and U2PL, VOC": (VOC, "2007_000032\n2011_003261"),
    "UniMatch, VOC": (VOC, "JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png\n"
                           "JPEGImages/2011_003261.jpg SegmentationClass/2011_003261.png"),
    "CAC, VOC": (VOC, "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n"
                      "/JPEGImages/2011_003261.jpg /SegmentationClassAug/2011_003261.png\n"),
    "ELN, Cityscapes": (CITY, "aachen/aachen_000000_000019\nulm/ulm_000094_000019\n"),
    "U2PL, Cityscapes": (CITY, "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png\n"
                               "leftImg8bit/train/ulm/ulm_000094_000019_leftImg8bit.png\n"),
    "UniMatch and CAC, Cityscapes": (CITY, "".join(
        f"leftImg8bit/train/{n.split('_')[0]}/{n}_leftImg8bit.png "
        f"gtFine/train/{n.split('_')[0]}/{n}_gtFine_labelTrainIds.png\n" for n in CITY)),
    "S4MC, Cityscapes": (CITY, "".join(
        f"leftImg8bit/train/x/{n}_leftImg8bit.png gtFine/train/x/{n}_gtFine_labelIds.png\n"
        for n in CITY)),
    "TorchSemiSeg, Cityscapes": (CITY, "".join(
        f"/images/train/{n}.png\t/segmentation/train/{n}_gtFine.png\n" for n in CITY)),
    "SegNet, CamVid": (("0001TP_006690",),
                       "/SegNet/CamVid/train/0001TP_006690.png "
                       "/SegNet/CamVid/trainannot/0001TP_006690.png\n"),
    "colour masks of CamVid": (("0001TP_006690",), "a/0001TP_006690.png b/0001TP_006690_L.png"),
    "file names": (VOC, "2007_000032.jpg\n2011_003261.jpg\n"),
    "Windows paths": (VOC, "JPEGImages\\2007_000032.jpg\r\nJPEGImages\\2011_003261.jpg\r\n"),
    "spaces parted by tabs": (("my cat", "a dog.v2"), "my cat\tmasks/my cat.png\n"
                                                      "a dog.v2\tmasks/a dog.v2.png\n"),
}


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "labeled.txt"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("which", FORMATS)
def test_every_format_gives_bare_names(tmp_path, which):
    names, text = FORMATS[which]
    assert read_published_list(written(tmp_path, text)) == names


@pytest.mark.parametrize("which", FORMATS)
def test_line_ends_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path, which):
    names, text = FORMATS[which]
    untidy = "\r\n" + "\r\n\r\n".join(line + "  " for line in text.splitlines()) + "\r\n \r\n"
    assert read_published_list(written(tmp_path, untidy, "utf-8-sig")) == names


def test_one_split_has_one_digest_whoever_wrote_the_list(tmp_path):
    one = read_published_list(written(tmp_path, FORMATS["UniMatch, VOC"][1]))
    other = read_published_list(written(tmp_path, "2011_003261\n2007_000032\n"))
    assert one != other and list_digest(one) == list_digest(other)
    assert list_digest(one) == hashlib.sha256(b"2007_000032\n2011_003261").hexdigest()
    assert list_digest(one[:1]) != list_digest(one)
    assert list_digest(["ab", "c"]) != list_digest(["a", "bc"])


def test_a_written_list_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "lists" / "labelled.txt"
    write_list(("b_L", "a.b", "c_gtFine"), path)
    assert path.read_bytes() == b"b_L\na.b\nc_gtFine\n"
    assert read_published_list(path) == ("b_L", "a.b", "c_gtFine"), "such ends are part of a name"
    for names, mend in (((), "no names"), (("a", "a"), "Take one out")):
        with pytest.raises(ValueError, match=mend):
            write_list(names, path)


@pytest.mark.parametrize(("text", "complaint"), [
    ("", "is empty.*Download it again"),
    ("\r\n \n", "is empty"),
    ("a\nb\na\n", "1 images twice, such as a"),
    ("x/a.jpg\ny/a.jpg\n", "1 images twice.*two folders"),
    ("a\nb\nJPEGImages/c.jpg\n", "mixed: line 1 is one column of bare names, line 3 is one "
                                 "column of paths"),
    ("\nx/a.jpg m/a.png\nx/b.jpg\n", "mixed: line 2 is two columns of paths, line 3 is one"),
    ("x/a.jpg m/a.png\nx/b.jpg m/c.png\n", "line 2 of .* of another image"),
    ("a b c\n", "line 1 of .*3 columns"),
])
def test_a_spoiled_list_is_refused(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_published_list(written(tmp_path, text))


def test_what_is_no_list_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.txt is missing. Download it"):
        read_published_list(tmp_path / "no.txt")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.zip cannot be read.*Save it as text in UTF-8"):
        read_published_list(tmp_path / "a.zip")
