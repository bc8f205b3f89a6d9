"""Packages that nothing refers to go away, and no other ever does."""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.registry import stored_packages
from shared.registry.package_cleanup import PackageCleaner
from shared.registry.packages import PackageError
from tests.integration.registry.support import Control, control_of, new_database, settings_of
from tests.support import PATIENCE_S, zip_of

HOUR_MS = 3_600_000


@pytest_asyncio.fixture
async def control(postgres_engine: str, tmp_path: Path) -> AsyncIterator[Control]:
    """A registry of its own: what others left behind would be cleaned up too."""
    async with new_database(postgres_engine) as url, control_of(settings_of(url, tmp_path)) as control:
        yield control


def package() -> bytes:
    return zip_of({"index.py": f"x = '{uuid.uuid4()}'\n"})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def is_kept(control: Control, content: bytes) -> bool:
    return await control.registry.packages.size(sha256(content)) is not None


async def age(control: Control) -> None:
    """As if the grace period had passed since everything that was noted."""
    async with control.registry.write() as connection:
        await connection.execute(
            text("UPDATE packages SET unused_since_ms = unused_since_ms - :ms WHERE unused_since_ms IS NOT NULL"),
            {"ms": HOUR_MS + 1},
        )


async def clean_twice(control: Control) -> int:
    """Notes what is unused, lets the grace period pass, and cleans up."""
    first = await control.registry.cleaner.clean()
    await age(control)
    return first + await control.registry.cleaner.clean()


async def test_a_package_goes_when_its_function_is_gone_and_the_grace_period_has_passed(control: Control) -> None:
    content = package()
    name = await control.create(Code={"ZipFile": content})
    assert await clean_twice(control) == 0
    await control("DeleteFunction", FunctionName=name)
    assert await control.registry.cleaner.clean() == 0
    assert await control.registry.cleaner.clean() == 0, "the grace period has not passed"
    assert await is_kept(control, content)
    await age(control)
    assert await control.registry.cleaner.clean() == 1
    assert not await is_kept(control, content)
    assert await control.create(Code={"ZipFile": content})
    assert await is_kept(control, content)


async def test_all_that_can_still_run_is_kept(control: Control) -> None:
    old, new, layer, replaced = package(), package(), package(), package()
    arn = (await control("PublishLayerVersion", LayerName="l", Content={"ZipFile": layer}))["LayerVersionArn"]
    name = await control.create(Code={"ZipFile": old}, Layers=[arn])
    await control("PublishVersion", FunctionName=name)
    await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[])
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=replaced)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=new)
    await control("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    assert await clean_twice(control) == 1
    kept = [await is_kept(control, content) for content in (old, new, layer, replaced)]
    assert kept == [True, True, True, False], "version 1 has the old code and the deleted layer"
    await control("DeleteFunction", FunctionName=name, Qualifier="1")
    assert await clean_twice(control) == 2
    assert [await is_kept(control, content) for content in (old, new, layer)] == [False, True, False]


async def test_a_layer_that_no_function_has_is_kept_until_it_is_deleted(control: Control) -> None:
    content = package()
    await control("PublishLayerVersion", LayerName="l", Content={"ZipFile": content})
    assert await clean_twice(control) == 0
    await control("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    assert await clean_twice(control) == 1
    assert not await is_kept(control, content)


async def test_a_package_that_is_announced_again_waits_anew(control: Control) -> None:
    content = package()
    async with control.registry.write() as connection:
        await stored_packages.keep(connection, sha256(content), size_bytes=len(content), unzipped_bytes=1, entries=1)
    await control.registry.packages.put(content)
    await control.registry.cleaner.clean()
    await age(control)
    async with control.registry.write() as connection:
        await stored_packages.keep(connection, sha256(content), size_bytes=len(content), unzipped_bytes=1, entries=1)
    assert await control.registry.cleaner.clean() == 0
    assert await is_kept(control, content)
    await age(control)
    assert await control.registry.cleaner.clean() == 1


async def test_who_needs_a_package_while_it_is_removed_gets_it_stored_anew(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = package()
    name = await control.create(Code={"ZipFile": content})
    await control("DeleteFunction", FunctionName=name)
    await control.registry.cleaner.clean()
    await age(control)
    removing, go_on = asyncio.Event(), asyncio.Event()
    remove = control.registry.packages.remove

    async def slowly(sha256: str, *, deadline_s: float) -> None:
        removing.set()
        await asyncio.wait_for(go_on.wait(), PATIENCE_S)
        await remove(sha256, deadline_s=deadline_s)

    monkeypatch.setattr(control.registry.packages, "remove", slowly)
    cleaning = asyncio.create_task(control.registry.cleaner.clean())
    await asyncio.wait_for(removing.wait(), PATIENCE_S)
    creating = asyncio.create_task(control.create(Code={"ZipFile": content}))
    done, _ = await asyncio.wait({creating}, timeout=0.3)
    assert not done, "it waits for the removal"
    go_on.set()
    assert await asyncio.wait_for(cleaning, PATIENCE_S) == 1
    name = await asyncio.wait_for(creating, PATIENCE_S)
    assert await is_kept(control, content)
    assert (await control("GetFunctionConfiguration", FunctionName=name))["State"] == "Active"


async def test_a_removal_that_fails_is_done_next_time(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    content = package()
    name = await control.create(Code={"ZipFile": content})
    await control("DeleteFunction", FunctionName=name)
    await control.registry.cleaner.clean()
    await age(control)

    async def fails(sha256: str, *, deadline_s: float) -> None:
        raise PackageError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(control.registry.packages, "remove", fails)
        with pytest.raises(PackageError):
            await control.registry.cleaner.clean()
    assert await is_kept(control, content)
    assert await control.registry.cleaner.clean() == 1
    assert not await is_kept(control, content)


async def test_one_process_cleans_up_at_a_time(control: Control) -> None:
    content = package()
    name = await control.create(Code={"ZipFile": content})
    await control("DeleteFunction", FunctionName=name)
    async with control.registry.write() as connection:
        assert await stored_packages.clean_alone(connection)
        assert await clean_twice(control) == 0
    async with control.registry.read() as connection:
        marked = (
            await connection.execute(text("SELECT count(*) FROM packages WHERE unused_since_ms IS NOT NULL"))
        ).scalar_one()
    assert marked == 0, "another had the work"
    cleaners = [
        PackageCleaner(control.registry._database, control.registry.packages, control.settings.registry) for _ in range(4)
    ]
    await asyncio.gather(*(cleaner.clean() for cleaner in cleaners))
    await age(control)
    assert sum(await asyncio.gather(*(cleaner.clean() for cleaner in cleaners))) == 1


async def test_a_running_frontend_cleans_up_by_itself(control: Control) -> None:
    sooner = control.settings.registry.model_copy(update={"package_cleanup_interval_s": 0.05, "package_grace_s": 0.2})
    control.registry.cleaner = PackageCleaner(control.registry._database, control.registry.packages, sooner)
    content, other = package(), package()
    name = await control.create(Code={"ZipFile": content})
    await control.create(Code={"ZipFile": other})
    await control("DeleteFunction", FunctionName=name)
    await control.context.start()
    for _ in range(400):
        if not await is_kept(control, content):
            break
        await asyncio.sleep(0.05)
    assert [await is_kept(control, one) for one in (content, other)] == [False, True]


async def test_no_function_loses_its_package_to_a_clean_up_that_meets_its_creation(control: Control) -> None:
    """Creates of packages that are just due, again and again while they are being removed."""
    grace_s = 2.0
    settings = control.settings.registry.model_copy(update={"package_grace_s": grace_s})
    cleaner = PackageCleaner(control.registry._database, control.registry.packages, settings)
    contents = [package() for _ in range(6)]
    choices = random.Random(7)
    stop = asyncio.Event()
    removed = 0

    async def clean() -> None:
        nonlocal removed
        while not stop.is_set():
            removed += await cleaner.clean()
            await asyncio.sleep(0.02)

    async def work(name: str, content: bytes) -> None:
        await asyncio.sleep(choices.uniform(0, 0.3))
        await control.create(name, Code={"ZipFile": content})
        assert (await control("GetFunctionConfiguration", FunctionName=name))["State"] == "Active"
        assert await is_kept(control, content)
        await control("DeleteFunction", FunctionName=name)

    cleaning = asyncio.create_task(clean())
    for round_ in range(3):
        async with asyncio.TaskGroup() as group:
            for number, content in enumerate(contents):
                group.create_task(work(f"w{round_}-{number}", content))
        # The first are due when the next round begins.
        await asyncio.sleep(grace_s - 0.2)
    stop.set()
    await cleaning
    assert removed > 0, "nothing was put to the test"
