"""Places that cannot be written to are refused in time, and no others."""

import pytest

from macro_gym.errors import OutputError
from macro_gym.files import replacing, require_file, require_folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The current folder, which holds a file and a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ["file", "new", "new/newer", "folder/new"])
def test_a_file_that_can_be_written_is_not_refused(name, places):
    require_file(name)
    with replacing(name) as file:
        file.write(b"y")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("folder", "^folder is a folder"),
        ("file/new", "^file cannot be a folder: .*/file is a file"),
        ("file/new/newer", "^file/new cannot be a folder: .*/file is a file"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(name, problem, places):
    with pytest.raises(OSError, match=r"Errno"), replacing(name):
        pass
    with pytest.raises(OutputError, match=problem):
        require_file(name)


def test_a_folder_may_be_there_or_not_but_is_not_made(places):
    for name in ("folder", "new", "folder/new", "new/newer"):
        require_folder(name)
    assert sorted(path.name for path in places.iterdir()) == ["file", "folder"]
