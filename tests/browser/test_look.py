"""Views in JupyterLab's themes: what is written can be read."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.agent import agent_in
from tests.browser.cells import board
from tests.browser.conftest import OpenNotebook
from tests.browser.converge import wait_until_equal
from tests.browser.lab import Lab
from tests.browser.notebook_page import View

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Every visible text of a view: its contrast to what is behind it (WCAG 2.2, 1.4.3), what it is, and how light its
# ground is. The least contrast comes first.
CONTRASTS = """
view => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const paint = colors => {
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const linear = each => each / 255 <= 0.04045 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = colors => {
    const [r, g, b] = paint(colors).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = each => each ? [...behind(each.parentElement), getComputedStyle(each).backgroundColor] : ['white'];
  const isText = each => each.matches('input[type=text], textarea, select')
    || [...each.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const isSeen = each => each.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const measure = each => {
    const grounds = behind(each);
    const ground = luminance(grounds);
    const ink = luminance([...grounds, getComputedStyle(each).color]);
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    return [ratio, `${each.className || each.tagName}: ${each.textContent || each.value}`, ground];
  };
  return [...view.querySelectorAll('*')].filter(each => isText(each) && isSeen(each)).map(measure)
    .sort((a, b) => a[0] - b[0]);
}
"""
CONTRAST_MIN = 4.5


def too_faint(view: View, *, is_dark: bool) -> list[Any]:
    """Texts that cannot well be read, once the theme is there."""

    def is_text_area_dark() -> list[bool]:
        return [ground < 0.2 for _, what, ground in view.root.evaluate(CONTRASTS) if what.startswith("ck-text")]

    wait_until_equal(is_text_area_dark, [is_dark], lambda: view.page.wait_for_timeout(50))
    return [each for each in view.root.evaluate(CONTRASTS) if each[0] < CONTRAST_MIN]


def test_every_text_stands_out_from_its_ground_in_light_and_dark(lab: Lab, open_notebook: OpenNotebook) -> None:
    page = open_notebook("ann", board("themes"))
    view = page.show()
    with agent_in(lab, "themes") as scout:
        scout.edit(lambda room: room.list("tasks").append({"title": "Dim the lights", "done": True, "days": 0.5}))
        scout.edit(lambda room: room.list("tasks").append("A plain text"))
        scout.edit(lambda room: room.root.update(when=None))
        view.add("Read in the dark", "tasks")
        view.type_text("Is that legible?", "notes")
        view.expect_status("live")

        assert too_faint(view, is_dark=False) == []
        page.choose("Settings", "Theme", "JupyterLab Dark")
        expect(page.page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
        assert too_faint(view, is_dark=True) == []
        page.screenshot("dark")
        page.cut_wire()
        adder = view.root.locator(".ck-adder").last
        adder.get_by_label("Name of the new field").fill("days")
        adder.get_by_label("Value of the new field").fill("many")
        adder.get_by_label("Type of the new value").select_option("number")
        adder.get_by_label("Value of the new field").press("Enter")
        expect(view.root.get_by_role("alert")).to_have_text("“many” is no number")
        view.expect_status("offline")
        assert too_faint(view, is_dark=True) == []
        page.screenshot("dark-offline")
        page.choose("Settings", "Theme", "JupyterLab Light")
        expect(page.page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Light")
        assert too_faint(view, is_dark=False) == []
