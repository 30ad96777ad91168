"""The files in DATA_DIR, as settings create them: only Landslide's user may read them."""

import stat
from pathlib import Path


def test_secret_key_is_generated_once_in_a_private_file(evaluate, tmp_path):
    first = evaluate("settings.SECRET_KEY")
    kept = tmp_path / "data" / "secret_key"
    assert len(first) > 50
    assert kept.stat().st_mode & 0o777 == 0o600
    assert evaluate("settings.SECRET_KEY") == first
    assert [path.name for path in kept.parent.glob(".secret_key*")] == []


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.lstat().st_mode)) for path in [folder, *folder.rglob("*")]}


def test_data_folder_is_private(evaluate, tmp_path):
    data = tmp_path / "data"
    evaluate("settings.DEBUG")
    assert modes(data) == {
        "data": "0o700", "secret_key": "0o600", "audit_key": "0o600", "landslide.sqlite3": "0o600",
    }  # fmt: skip


def test_existing_files_become_private(evaluate, tmp_path):
    data = tmp_path / "data"
    elsewhere = tmp_path / "elsewhere.sqlite3"
    for folder in (data / "audit", data / "static"):
        folder.mkdir(parents=True)
    names = ["landslide.sqlite3", "landslide.sqlite3-wal", "landslide.sqlite3-shm", "secret_key", "audit_key"]
    names += ["admin-password", "audit/K7MDXA-round1-epoch1.zip", "landslide.log", "static/base.css"]
    outside = tmp_path / "outside"
    for path in (*(data / name for name in names), elsewhere, outside):
        path.write_text("x" * 64)
        path.chmod(0o666)
    (data / "landslide.link").symlink_to(outside)
    data.chmod(0o755)
    evaluate("settings.DEBUG", DATABASE_URL=f"sqlite:///{elsewhere}")
    found = modes(data)
    assert found.pop("static") == "0o755" and found.pop("base.css") == "0o666"  # public files
    assert found.pop("landslide.link")
    assert {name: mode for name, mode in found.items() if mode[-2:] != "00"} == {}
    assert (modes(elsewhere.parent)["elsewhere.sqlite3"], modes(tmp_path)["outside"]) == ("0o600", "0o666")


def test_other_files_in_the_data_folder_keep_their_mode(evaluate, tmp_path):
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    for path in (home / "bin" / "tool", home / "secret_key"):
        path.write_text("x" * 64)
        path.chmod(0o755)
    for folder in (home, home / "bin"):
        folder.chmod(0o755)
    told = evaluate(
        "[each.id for each in checks.check_settings()]",
        DATA_DIR=str(home),
    )
    assert "landslide.W004" in told
    found = modes(home)
    assert (found["home"], found["bin"], found["tool"]) == ("0o755", "0o755", "0o755")
    assert (found["secret_key"], found["landslide.sqlite3"]) == ("0o700", "0o600")


def test_shared_folder_keeps_its_mode(evaluate, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    told = evaluate(
        "[each.id for each in checks.check_settings()]",
        DATA_DIR=str(shared),
    )
    assert "landslide.W004" in told
    assert modes(shared)["shared"] == "0o1777" and modes(shared)["secret_key"] == "0o600"
