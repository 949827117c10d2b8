"""collabkernel: live rooms that people, scripts and agents edit at once.

::

    import collabkernel as ck

    room = ck.connect("planning")
    tasks = room.list("tasks")
    tasks.append({"title": "Write", "done": False})
    tasks[0]["done"] = True

What stands here is loaded when it is first used, so that a server does not load the client. ``__init__.pyi`` has types.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULE_BY_NAME = {
    "Change": "collabkernel.client.observers",
    "CollabKernelError": "collabkernel.errors",
    "LiveList": "collabkernel.client.live_list",
    "LiveMap": "collabkernel.client.live_map",
    "LiveObject": "collabkernel.client.live_object",
    "LiveText": "collabkernel.client.live_text",
    "connect": "collabkernel.session",
}

__all__ = [*_MODULE_BY_NAME, "__version__", "aio"]


def __getattr__(name: str) -> object:
    if name == "aio":
        return import_module("collabkernel.aio")
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'collabkernel' has no attribute {name!r}")
    found = getattr(import_module(_MODULE_BY_NAME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
