"""A headless Chromium, driven by the DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-dev-shm-usage",
          "--disable-background-networking", "--remote-debugging-port=0", "--window-size=1400,1000")
_PATIENCE = 60  # seconds


class Browser:
    """One tab. ``requests`` are the URLs that it asked for since the last :meth:`open`."""

    def __init__(self, port: int):
        self.port, self.loop, self.numbers, self.requests = port, asyncio.new_event_loop(), itertools.count(1), []
        self.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{self.port}/json/list") as answer:
            tab = next(each for each in await answer.json() if each["type"] == "page")
        self.socket = await self.session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=2**28)
        for domain in ("Page", "Network", "Runtime"):
            await self._call(f"{domain}.enable")

    async def _call(self, method: str, **words: Any) -> dict[str, Any]:
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": words})
        while True:
            message = await self.socket.receive_json(timeout=_PATIENCE)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                return message.get("result", {})

    def open(self, path: Path, hash_: str = "") -> None:
        """Load the page anew and wait until its visible pictures are drawn."""
        self.requests.clear()
        self.loop.run_until_complete(self._call("Page.navigate", url="about:blank"))
        self.loop.run_until_complete(self._call("Page.navigate", url=f"file://{path}{hash_}"))
        self.wait("document.readyState === 'complete' && document.querySelectorAll('.row').length && "
                  "![...document.querySelectorAll('.row')].some((row) => !row.dataset.drawn)")

    def run(self, script: str) -> Any:
        """The value of a script, awaited where it is a promise."""
        words = {"expression": script, "returnByValue": True, "awaitPromise": True}
        return self.loop.run_until_complete(self._call("Runtime.evaluate", **words))["result"].get("value")

    def wait(self, condition: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {_PATIENCE} s: {condition}"
            time.sleep(0.05)

    def close(self) -> None:
        self.loop.run_until_complete(self.socket.close())
        self.loop.run_until_complete(self.session.close())
        self.loop.close()


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser whose profile lies in ``folder``; it ends with the block."""
    process = subprocess.Popen([PROGRAM, *_FLAGS, f"--user-data-dir={folder}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told, end = folder / "DevToolsActivePort", time.monotonic() + _PATIENCE
        while not (told.is_file() and told.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        browser = Browser(int(told.read_text().splitlines()[0]))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE)
