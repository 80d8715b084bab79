"""People with a list and a browser: the page in a real Chromium."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.registry import command
from support.web import ROWS, Tokens, Web, xlsx

pytest.importorskip("playwright", reason="the page is tested with the package playwright")
pytest.importorskip("axe_playwright_python", reason="accessibility is tested with axe")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("the page is tested in Debian's chromium", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402 - skips come first
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
WORDS = {
    "en": {
        "log in": "Log in", "route": "Route the list", "zip": "Download everything",
        "number": "Number, in any format", "look up": "Look up",
    },
    "ru": {
        "log in": "Войти", "route": "Разложить список", "zip": "Скачать всё",
        "number": "Номер в любом формате", "look up": "Найти",
    },
}  # fmt: skip


@dataclass
class Visit:
    """A page, and what its browser asked for and complained of."""

    page: Page
    hosts: set[str]
    complaints: list[str]

    def check(self, name: str) -> None:
        """Make sure that what is shown is accessible and fits the window."""
        violations = Axe().run(self.page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == [], name
        width, shown = self.page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert shown <= width, name


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser):
    """Return a function that opens a window."""

    def open_window(language: str, **options: object) -> Visit:
        context = browser.new_context(locale=language, accept_downloads=True, **options)
        page = context.new_page()
        page.set_default_timeout(60_000)
        found = Visit(page, set(), [])
        page.on("request", lambda request: found.hosts.add(urlsplit(request.url).netloc))
        page.on("console", lambda line: line.type == "error" and found.complaints.append(line.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        return found

    return open_window


def log_in(seen: Visit, web: Web, token: str, language: str) -> None:
    """Log in with the keyboard alone."""
    seen.page.goto(web.url)
    seen.page.wait_for_selector("input:focus")
    seen.page.keyboard.type(token)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#upload")


@pytest.mark.parametrize(
    ("language", "options"),
    [
        ("en", {"color_scheme": "light", "viewport": {"width": 1200, "height": 900}}),
        ("ru", {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}),
    ],
)
def test_a_workbook_is_routed_in_a_browser(
    guarded, tokens: Tokens, store, visit, tmp_path, language, options
) -> None:
    """Log in, drop a workbook, choose, wait, download the zip: its files are the command's."""
    words, seen = WORDS[language], visit(language, **options)
    page = seen.page
    page.goto(guarded.url)
    seen.check("login")
    assert page.get_by_role("button", name=words["log in"]).count() == 1
    log_in(seen, guarded, tokens.erp, language)
    seen.check("home")
    (tmp_path / "clients.xlsx").write_bytes(xlsx())
    page.set_input_files("#file", tmp_path / "clients.xlsx")
    page.wait_for_selector("table")
    assert page.locator("tbody tr").count() == 20
    assert "7916*******" in page.locator("tbody").inner_text()
    seen.check("preview")
    page.fill("#region", "RU")
    page.get_by_role("button", name=words["route"]).click()
    page.wait_for_selector(".tiles")
    seen.check("result")
    with page.expect_download() as downloading:
        page.get_by_role("link", name=re.compile(words["zip"])).click()
    archive = zipfile.ZipFile(io.BytesIO(Path(downloading.value.path()).read_bytes()))
    done = command(
        *("numroute", "route", tmp_path / "clients.xlsx", "--store", store, "--region", "RU"),
        *("--out", tmp_path / "out", "--language", language),
    )
    assert done.status == 0, done.err
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {name: archive.read(name) for name in archive.namelist()} == expected
    assert seen.hosts == {urlsplit(guarded.url).netloc}
    # The page to log in is itself an answer of 401, and browsers look for an icon.
    assert [line for line in seen.complaints if "401" not in line and "404" not in line] == []


def test_one_number_is_explained(guarded, tokens: Tokens, visit) -> None:
    """The page says who serves a number and why; the number is in no address."""
    seen = visit("ru")
    log_in(seen, guarded, tokens.crm, "ru")
    seen.page.get_by_label(WORDS["ru"]["number"]).fill("+7 916 123-45-67")
    seen.page.get_by_role("button", name=WORDS["ru"]["look up"]).click()
    seen.page.wait_for_selector("dl")
    assert "MTS" in seen.page.locator("dl").inner_text()
    assert "диапазон ✓" in seen.page.locator("table").inner_text()
    assert "916" not in seen.page.url
    seen.check("lookup")


def test_hostile_cells_stay_text(web, visit) -> None:
    """HTML in a header, a name or a cell is shown, and runs nowhere."""
    seen = visit("en")
    seen.page.goto(web.url)
    hostile = "<img src=x onerror=alert(1)>"
    seen.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    numbers = "\n".join(row[1] for row in ROWS[:30])
    text = f"phone {hostile}\n{numbers}\n{hostile}\n=cmd()\n".encode()
    name = "<script>alert(1)</script>.csv"
    seen.page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": text})
    seen.page.wait_for_selector("table")
    seen.page.get_by_role("button", name="Route the list").click()
    seen.page.wait_for_selector(".tiles")
    assert seen.page.locator("img, main script").count() == 0
    seen.page.get_by_text("Open the whole report").click()
    seen.page.wait_for_selector("dl")
    assert seen.page.locator("img, script").count() == 0


def test_a_session_is_a_strict_cookie_and_ends(guarded, tokens: Tokens, visit) -> None:
    """HttpOnly, SameSite=Strict; after logging out the cookie is worth nothing."""
    seen = visit("en")
    log_in(seen, guarded, tokens.crm, "en")
    (cookie,) = seen.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert tokens.crm not in cookie["value"]
    held = f"numroute_session={cookie['value']}"
    assert guarded.get("/v1/snapshot", cookie=held).status == 200
    seen.page.get_by_role("button", name="Log out").click()
    seen.page.wait_for_selector("#token")
    assert guarded.get("/v1/snapshot", cookie=held).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"origin": "null"},
    ],
)
def test_another_sites_page_changes_nothing(web, guarded, tokens: Tokens, headers) -> None:
    """A request that a browser sends for another site is refused, logged in or not."""
    answer = web.post("/v1/lists", b"phone\n+79161234567\n", **headers)
    assert (answer.status, answer.problem) == (403, "forbidden")
    kind = "application/x-www-form-urlencoded"
    body = f"token={tokens.crm}".encode()
    assert guarded.post("/login", body, content_type=kind, **headers).status == 403
    answer = guarded.post("/login", body, content_type=kind, origin=guarded.url)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert answer.status == 303
    for more in (headers, {}):
        answer = guarded.post("/v1/lists", b"phone\n1\n", cookie=cookie, **more)
        assert (answer.status, answer.problem) == (403, "forbidden")
    answer = guarded.post("/v1/lists", b"phone\n1\n", cookie=cookie, origin=guarded.url)
    assert answer.status == 202


def test_every_answer_has_a_strict_policy(web) -> None:
    """No inline script or style, no other host, no frame; on pages and on answers alike."""
    for path in ("/", "/v1/snapshot", "/static/style.css", "/nothing", "/lists/nothing"):
        headers = web.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
