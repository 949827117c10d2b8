"""A Python client that others wrote, driven by lines: ``CLIENT URL HEADERS``, for an environment of its own.

A line ``{"add": SOURCE}`` appends a cell, ``{"type": [INDEX, TEXT]}`` types at a cell's end. It prints the list of all
sources at each change, the first time when it is in sync. CLIENT is nbmodel, pycrdt or ypy. With NARROW as a fourth
argument pycrdt's documents take client ids of 32 bits, as Yjs and y-py have them: y-py sends on what it has received,
and mangles wider ids, so that everything by such a client is there twice.
"""

import asyncio
import json
import random
import sys
import uuid
from contextlib import asynccontextmanager

import websockets

LOOK_S = 0.02


class Line:
    """A WebSocket as ypy-websocket and pycrdt ask for one: bytes in and out, and a path."""

    def __init__(self, socket, path):
        self._socket = socket
        self.path = path

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return await self.recv()
        except websockets.ConnectionClosed:
            raise StopAsyncIteration() from None

    async def send(self, message):
        await self._socket.send(bytes(message))

    async def recv(self):
        return await self._socket.recv()


def new_cell(text):
    return {"id": uuid.uuid4().hex, "cell_type": "code", "source": text, "metadata": {}, "outputs": []}


class NbModel:
    """jupyter-nbmodel-client."""

    def __init__(self, client):
        self._client = client

    def sources(self):
        return [self._client.get_cell_source(index) for index in range(len(self._client))]

    def add(self, source):
        self._client.add_code_cell(source)

    def type(self, index, text):
        self._client.set_cell_source(index, self._client.get_cell_source(index) + text)


class Pycrdt:
    """A pycrdt document."""

    def __init__(self, doc):
        from pycrdt import Array

        self._cells = doc.get("cells", type=Array)

    def sources(self):
        return [str(cell["source"]) for cell in self._cells]

    def add(self, source):
        from pycrdt import Map, Text

        self._cells.append(Map(new_cell(Text(source))))

    def type(self, index, text):
        source = self._cells[index]["source"]
        source += text


class Ypy:
    """A y-py document."""

    def __init__(self, doc):
        self._doc = doc
        self._cells = doc.get_array("cells")

    def sources(self):
        return [str(cell["source"]) for cell in self._cells]

    def add(self, source):
        import y_py

        with self._doc.begin_transaction() as transaction:
            self._cells.append(transaction, y_py.YMap(new_cell(y_py.YText(source))))

    def type(self, index, text):
        source = self._cells[index]["source"]
        with self._doc.begin_transaction() as transaction:
            source.extend(transaction, text)


@asynccontextmanager
async def opened(client, url, headers):
    if client == "nbmodel":
        from jupyter_nbmodel_client import NbModelClient

        async with NbModelClient(url, username="nbmodel", additional_headers=headers) as notebook:
            await notebook.wait_until_synced()
            yield NbModel(notebook)
        return
    async with websockets.connect(url, additional_headers=headers, max_size=None) as socket:
        if client == "pycrdt":
            import pycrdt

            doc = pycrdt.Doc()
            async with pycrdt.Provider(doc, Line(socket, url)) as provider:
                await provider.synced.wait()
                yield Pycrdt(doc)
        else:
            import y_py
            from ypy_websocket import WebsocketProvider

            doc = y_py.YDoc()
            async with WebsocketProvider(doc, Line(socket, url)):
                yield Ypy(doc)


def narrow_client_ids():
    import pycrdt

    class NarrowDoc(pycrdt.Doc):
        def __init__(self, *args, **options):
            super().__init__(*args, **{"client_id": random.getrandbits(32)} | options)

    pycrdt.Doc = NarrowDoc


async def main(client, url, headers, narrow=""):
    if narrow:
        narrow_client_ids()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with opened(client, url, json.loads(headers)) as notebook:
        looking = asyncio.create_task(look(notebook))
        while line := await reader.readline():
            command = json.loads(line)
            if "add" in command:
                notebook.add(command["add"])
            else:
                notebook.type(*command["type"])
        looking.cancel()


async def look(notebook):
    told = None
    while True:
        sources = notebook.sources()
        if sources != told:
            told = sources
            print(json.dumps(sources), flush=True)
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
