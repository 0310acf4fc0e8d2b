"""Tests of adapters may be coroutines: each runs in an event loop of its own, and none for ever."""

from __future__ import annotations

import asyncio
import inspect

import pytest

pytest.register_assert_rewrite("adapters.contracts")

_LONGEST_SECONDS = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), _LONGEST_SECONDS))
    return True
