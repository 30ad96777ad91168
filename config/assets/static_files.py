"""Static files with hashed names, cached for ever and compressed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.files.base import ContentFile
from django.core.management import call_command
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

from config.apps import StaticFiles
from config.assets import script_bundles, style_bundles

#: The code that processes static files. If this code changes, the files are collected again.
BUILD_SOURCES = (__file__, script_bundles.__file__, style_bundles.__file__)


class QuickCompressor(Compressor):
    """Brotli at quality 9, not 11: ten times faster at the first start, and files a few percent larger."""

    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        return brotli.compress(data, quality=9)


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    # ES modules import each other by relative names, which must be replaced by hashed names.
    support_js_module_import_aggregation = True
    # Each pass renames the imports of one level. Our modules have more levels than Django's default of five
    # passes.
    max_post_process_passes = 20
    # Source maps aren't collected, so references to them aren't rewritten.
    patterns = tuple(
        (ending, tuple(rule for rule in rules if "sourceMap" not in str(rule)))
        for ending, rules in CompressedManifestStaticFilesStorage.patterns
    )

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Any:
        files = {path: (file, paths[path][1]) for path, file in joined_files(paths).items()}
        return super().post_process(paths | files, dry_run=dry_run, **options)

    def stored_name(self, name: str) -> str:
        """Return the hashed name, or the plain name if the manifest doesn't have the file."""
        try:
            return str(super().stored_name(name))
        except ValueError:
            return name

    def compress_files(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Compress only the files with hashed names, since pages request no others."""
        yield from super().compress_files(set(paths) & set(self.hashed_files.values()))

    def create_compressor(self, **kwargs: Any) -> Compressor:
        return QuickCompressor(**kwargs)


class JoinedFile:
    """A storage that has one script or style sheet and returns it joined with its imports."""

    def __init__(self, text: Callable[[], str]) -> None:
        self.text = text

    def open(self, _: str) -> ContentFile[bytes]:
        return ContentFile(self.text().encode())


def joined_files(paths: dict[str, Any]) -> dict[str, JoinedFile]:
    """Return storages, by path, for the scripts and style sheets that pages load and that have imports."""

    def read(path: str) -> str:
        storage, stored = paths[path]
        with storage.open(stored) as file:
            return str(file.read().decode())

    def read_script(name: str) -> str:
        return read(f"js/{name}.js")

    names = [
        path[len("js/") : -len(".js")] for path in paths if path.startswith("js/") and path.endswith(".js")
    ]
    scripts = script_bundles.entries(names, read_script)
    files = {
        f"js/{name}.js": JoinedFile(partial(script_bundles.joined, name, read_script)) for name in scripts
    }
    styles = [path for path in paths if path.startswith("css/") and style_bundles.has_imports(read(path))]
    return files | {path: JoinedFile(partial(style_bundles.joined, path, read)) for path in styles}


def collect_if_changed() -> bool:
    """Run collectstatic unless STATIC_ROOT was made from exactly these files."""
    mark = Path(settings.STATIC_ROOT) / ".collected"
    wanted = fingerprint()
    if mark.exists() and mark.read_text() == wanted:
        return False
    call_command("collectstatic", interactive=False, verbosity=0)
    mark.write_text(wanted)
    return True


def fingerprint() -> str:
    """Return a hash of all source files' names, sizes and modification times. File contents aren't read."""
    found = hashlib.blake2b(b"".join(Path(str(each)).read_bytes() for each in BUILD_SOURCES), digest_size=16)
    for finder in finders.get_finders():
        for path, storage in finder.list(StaticFiles.ignore_patterns):
            status = Path(storage.path(path)).stat()
            found.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return found.hexdigest()


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    def add_files(self, root: str | Path, prefix: str | None = None) -> None:
        """Skip a folder that doesn't exist yet. WhiteNoise would log a warning for such a folder."""
        if Path(root).is_dir():
            super().add_files(root, prefix)
