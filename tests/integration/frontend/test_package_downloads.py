"""Links to packages, followed over HTTP, with packages in a folder and in S3."""

from __future__ import annotations

import asyncio
import functools
import http.client
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.frontend.apis.lambda_ import package_links
from services.frontend.app import FrontendApp
from services.frontend.edge.http_server import FrontendServer
from services.frontend.edge.request_ids import RequestIds
from services.frontend.main import listen, server_config
from services.frontend.native import NativeApp
from shared.registry.packages import PackageStore
from shared.settings import FrontendSettings, RegistrySettings, S3Settings, Settings
from shared.telemetry.health import Health
from tests.integration.registry.s3_server import client_of, s3_server
from tests.support import PATIENCE_S

LARGE = os.urandom(3 * 1024 * 1024 + 17)


class Downloads:
    def __init__(self, settings: Settings, address: tuple[str, int]) -> None:
        self.settings = settings
        self.packages = PackageStore(settings)
        self._address = address

    def link(self, sha256: str, *, now_s: float | None = None) -> str:
        """Path and query of a link."""
        parts = urlsplit(package_links.sign(self.settings, sha256, now_s=now_s))
        return f"{parts.path}?{parts.query}"

    async def get(self, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
        return await asyncio.to_thread(self._get, path, method)

    def _get(self, path: str, method: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()


@pytest_asyncio.fixture(scope="module", params=["folder", "s3"])
async def downloads(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Downloads]:
    folder = tmp_path_factory.mktemp("downloads")
    if request.param == "folder":
        async with _serving(Settings(data_dir=folder, cluster_secret=SecretStr("secret"))) as downloads:
            yield downloads
        return
    with s3_server(folder) as url:
        client_of(url).create_bucket(Bucket="packages")
        s3 = S3Settings(endpoint_url=url, access_key_id="a", secret_access_key=SecretStr("b"))
        store = RegistrySettings(package_store_url="s3://packages")
        async with _serving(Settings(data_dir=folder, cluster_secret=SecretStr("secret"), s3=s3, registry=store)) as downloads:
            yield downloads


class _serving:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Downloads:
        frontend = FrontendSettings(port=0)
        listener = listen(frontend)
        downloads = Downloads(self._settings, listener.getsockname()[:2])
        native = NativeApp(Health("frontend", {}))
        native.download = functools.partial(package_links.download, self._settings, downloads.packages)
        self._server = FrontendServer(server_config(FrontendApp(native, RequestIds()), frontend))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        return downloads

    async def __aexit__(self, *_: object) -> None:
        self._server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await self._task


@pytest.mark.parametrize("content", [b"x", LARGE], ids=["small", "large"])
async def test_a_link_gives_the_whole_package(downloads: Downloads, content: bytes) -> None:
    sha256 = await downloads.packages.put(content)
    status, body, headers = await downloads.get(downloads.link(sha256))
    assert (status, body == content, headers["content-type"]) == (200, True, "application/zip")
    status, body, headers = await downloads.get(downloads.link(sha256), "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(content)))
    assert (await downloads.get(downloads.link(sha256), "POST"))[0] == 405


async def test_a_link_ends_after_ten_minutes(downloads: Downloads) -> None:
    sha256 = await downloads.packages.put(b"y")
    assert (await downloads.get(downloads.link(sha256, now_s=time.time() - 590)))[0] == 200
    assert (await downloads.get(downloads.link(sha256, now_s=time.time() - 610)))[0] == 403


async def test_no_part_of_a_link_can_be_changed(downloads: Downloads) -> None:
    sha256, other = await downloads.packages.put(b"z"), await downloads.packages.put(b"other")
    good = downloads.link(sha256)
    path, _, query = good.partition("?")
    for bad in (
        path,
        good.replace(sha256, other),
        good.replace("expires=", "expires=1"),
        good[:-1],
        f"{path}?{query}&expires=9999999999",
        f"{path}?expires=9999999999&{query}",
        path + "?expires=%00&signature=%ff",
        path + "/../" + other + "?" + query,
        "/_lambdad/packages/?" + query,
    ):
        status, body, _ = await downloads.get(bad)
        # A repeated parameter counts once, the first time: the link is then what it was.
        assert status == 403 or (bad.endswith("&expires=9999999999") and body == b"z"), bad


async def test_a_link_to_a_package_that_is_gone_says_so(downloads: Downloads) -> None:
    sha256 = await downloads.packages.put(b"soon gone")
    link = downloads.link(sha256)
    await downloads.packages.remove(sha256)
    assert (await downloads.get(link))[0] == 404
    await downloads.packages.remove(sha256)


async def test_a_damaged_package_never_arrives_whole(tmp_path: Path) -> None:
    async with _serving(Settings(data_dir=tmp_path, cluster_secret=SecretStr("secret"))) as downloads:
        sha256 = await downloads.packages.put(LARGE)
        file = tmp_path / "packages" / sha256[:2] / f"{sha256}.zip"
        file.write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await downloads.get(downloads.link(sha256))
