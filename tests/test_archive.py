"""Archives that cannot be opened: what the system says of them, not that they are damaged."""

import os

import numpy as np
import pytest

from fastgmm import archive, checkpoint, model_file

KINDS = [model_file.KIND, checkpoint.KIND]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_cannot_be_opened_is_not_called_damaged(kind, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "round").symlink_to("round")
    archive.write(tmp_path / "locked", kind, {}, {"x": np.zeros(2)})
    (tmp_path / "locked").chmod(0)
    reasons = {
        "folder": "Is a directory",
        "round": "Too many levels of symbolic links",
        "n" * 300: "File name too long",
    }
    if os.geteuid() != 0:
        reasons["locked"] = "Permission denied"
    for name, reason in reasons.items():
        with pytest.raises(kind.error) as caught:
            archive.read(tmp_path / name, kind)
        assert str(caught.value) == f"The {kind.name} {tmp_path / name} cannot be read: {reason}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_table_of_contents_is_damage(kind, tmp_path):
    """It sends zipfile to a place before the file, which the system refuses."""
    path = tmp_path / "file"
    archive.write(path, kind, {}, {"x": np.zeros(2)})
    content = bytearray(path.read_bytes())
    content[-6:-2] = b"\xff\xff\xff\x7f"  # where the table begins
    path.write_bytes(content)
    with pytest.raises(kind.error, match="or is damaged"):
        archive.read(path, kind)
