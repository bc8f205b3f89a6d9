"""The Lua scripts of a cell, in lua/."""

from __future__ import annotations

from pathlib import Path

from shared.redis.scripts import Folder

SCRIPTS = Folder(Path(__file__).parent / "lua")
script = SCRIPTS.script
