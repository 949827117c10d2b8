"""One chromium, with a profile for each person."""

from __future__ import annotations

from playwright.sync_api import Browser, BrowserContext, Page

from tests.bounds import HANG_S
from tests.browser.lab import PERSON_COOKIE, Lab


class Profiles:
    """Nobody has another's cookies, and who comes again has JupyterLab's scripts in the cache."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context_by_person: dict[str, BrowserContext] = {}

    def new_page(self, lab: Lab, person: str, width: int, height: int) -> Page:
        """An empty page of somebody who is logged in to a server."""
        context = self._context_by_person.get(person)
        if context is None:
            context = self._context_by_person[person] = self._browser.new_context()
        context.add_cookies([{"name": PERSON_COOKIE, "value": person, "url": lab.url}])
        page = context.new_page()
        page.set_default_timeout(HANG_S * 1000)
        page.set_viewport_size({"width": width, "height": height})
        return page
