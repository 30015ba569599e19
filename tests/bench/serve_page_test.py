#!/usr/bin/python3
"""The page that bench serve writes: opened by a headless Chromium where there is one, which must
draw its plots; in any case its SVG is parsed strictly. Argument: the page."""

import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SVG = "{http://www.w3.org/2000/svg}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RUNS = 6  # ask, chat, search, each as a sweep and overloaded
BROWSER_SECONDS_MAX = 120


class Outside(html.parser.HTMLParser):
    """Finds what a self-contained page must not have."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href")]


def check(condition, message):
    if not condition:
        raise SystemExit("FAILED: " + message)


def check_plots(text):
    plots = [xml.etree.ElementTree.fromstring(svg)
             for svg in re.findall(r"<svg .*?</svg>", text, re.DOTALL)]
    names = {plot.get("id") for plot in plots}
    for run in range(RUNS):
        kinds = ["latency", "throughput", "stages"] + (["rate", "goodput"] if run % 2 == 0 else [])
        for kind in kinds:
            check(f"run{run}-{kind}" in names, f"no plot run{run}-{kind}")
    for plot in plots:
        drawn = [line for line in plot.findall(SVG + "polyline")
                 if " " in line.get("points").strip()]  # of two points at least
        drawn += plot.findall(SVG + "circle") + plot.findall(f"{SVG}rect[@class='bar']")
        check(drawn, f"nothing is drawn in {plot.get('id')}")
        _, _, width, height = map(float, plot.get("viewBox").split())
        for line in plot.findall(SVG + "polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                check(0 <= x <= width and 0 <= y <= height, f"{plot.get('id')}: {point} is outside")
    return len(plots)


def check_in_browser(browser, page):
    """Chromium parses the page, and its document still has every plot."""
    with tempfile.TemporaryDirectory() as profile:
        dumped = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + profile,
             "--dump-dom", "file://" + os.path.abspath(page)],
            capture_output=True, text=True, timeout=BROWSER_SECONDS_MAX, check=True).stdout
        check_plots(dumped)
        picture = os.path.join(profile, "page.png")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + profile,
             "--screenshot=" + picture, "file://" + os.path.abspath(page)],
            capture_output=True, timeout=BROWSER_SECONDS_MAX, check=True)
        check(os.path.getsize(picture) > 5000, "the browser drew next to nothing")


def main():
    page = sys.argv[1]
    with open(page, encoding="utf-8") as file:
        text = file.read()
    outside = Outside()
    outside.feed(text)
    check(not outside.found, f"the page is not self-contained: {outside.found}")
    print(f"{check_plots(text)} plots, each well-formed and drawn")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("SKIPPED the half in a browser: none of " + ", ".join(BROWSERS) +
              " is installed (apt-get install chromium)")
        return
    check_in_browser(browser, page)
    print(f"{browser} shows the same")


if __name__ == "__main__":
    main()
