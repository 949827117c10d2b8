from collabkernel import aio as aio
from collabkernel.client.live_list import LiveList as LiveList
from collabkernel.client.live_map import LiveMap as LiveMap
from collabkernel.client.live_object import LiveObject as LiveObject
from collabkernel.client.live_text import LiveText as LiveText
from collabkernel.client.observers import Change as Change
from collabkernel.errors import CollabKernelError as CollabKernelError
from collabkernel.session import connect as connect

__version__: str
