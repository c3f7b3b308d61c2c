"""The page in Chromium: drawn on with a mouse, used without one, and on a small screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import MakeProject
from project import Project
from service_process import Running, running
from strokes import digits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for found in map(shutil.which, NAMES) if found), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def served(reproduced_template: Project) -> Iterator[Running]:
    with running(reproduced_template) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # in a container there are no namespaces for its sandbox
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "Browser", served: Running) -> Iterator["Page"]:
    """The page, ready to be drawn on; the test fails where it reports an error."""
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    errors: list[str] = []
    opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    requested: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto(served.url)
    opened.wait_for_selector("#draw:not([hidden])")
    yield opened
    opened.close()
    # the browser also reports each refusal of the service
    assert [error for error in errors if "Failed to load resource" not in error] == []
    assert all(url.startswith((served.url, "data:", "blob:")) for url in requested)


def answer(page: "Page") -> tuple[str, str]:
    """The most probable class and its probability, once all that was drawn is answered."""
    page.wait_for_selector("#answer[aria-busy=false] #classes li")
    first = page.locator("#classes li").first
    return (
        first.locator(".name").text_content() or "",
        first.locator(".percent").text_content() or "",
    )


def draw(page: "Page", strokes: list[list[tuple[float, float]]]) -> None:
    box = page.locator("#drawing").bounding_box()
    assert box
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


@pytest.mark.ci
def test_probabilities_appear_as_one_draws_and_go_when_it_is_cleared(page: "Page") -> None:
    draw(page, [[(0.5, 0.2), (0.5, 0.8)]])
    answer(page)
    assert page.locator("#classes li").count() == 10
    assert page.locator("#size").text_content() == "8 × 8 pixels, grayscale"
    assert str(page.locator("#seen").get_attribute("src")).startswith("data:image/png")
    assert "%" in str(page.locator("#spoken").text_content())
    page.click("#clear")
    page.wait_for_selector("#empty:not([hidden])")
    assert page.locator("#classes li").count() == 0


@pytest.mark.ci
def test_on_a_telephone_the_answer_is_seen_while_one_draws(
    browser: "Browser", served: Running
) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 664}, has_touch=True)
    page = phone.new_page()
    page.goto(served.url)
    page.wait_for_selector("#draw:not([hidden])")
    draw(page, [[(0.5, 0.2), (0.5, 0.8)]])
    answer(page)
    first = page.locator("#classes li").first.bounding_box()
    assert first and first["y"] + first["height"] <= 664
    phone.close()


@pytest.mark.ci
def test_it_can_be_drawn_on_with_the_keyboard(page: "Page") -> None:
    page.focus("#drawing")
    for key in [*["ArrowUp"] * 8, " ", *["ArrowDown"] * 16, " "]:
        page.keyboard.press(key)
    answer(page)
    page.keyboard.press("Delete")
    page.wait_for_selector("#empty:not([hidden])")


@pytest.mark.ci
def test_a_file_is_classified_and_shown(page: "Page", tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "image.png")
    page.set_input_files("#choose", tmp_path / "image.png")
    answer(page)
    assert page.locator("#photo").is_visible()
    (tmp_path / "document.pdf").write_bytes(b"%PDF-1.7")
    # what the service says is shown, and no old answer beside it
    page.set_input_files("#choose", tmp_path / "document.pdf")
    page.wait_for_selector("#error:not(:empty)")
    assert "document.pdf: it is a PDF document" in str(page.locator("#error").text_content())
    assert page.locator("#classes li").count() == 0


@pytest.mark.ci
def test_it_recovers_from_a_service_that_was_away(
    browser: "Browser", served: Running, tmp_path: Path
) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "image.png")
    page = browser.new_page()
    page.route("**/model", lambda route: route.abort())
    page.goto(served.url)
    page.wait_for_selector("#error:not(:empty)")
    assert page.locator("#draw").is_hidden()
    page.unroute("**/model")
    page.set_input_files("#choose", tmp_path / "image.png")
    answer(page)
    assert page.locator("#error").text_content() == ""
    assert "10 classes" in str(page.locator("#model").text_content())
    page.wait_for_selector("#draw:not([hidden])")
    page.close()


@pytest.mark.ci
def test_a_newer_model_is_described_as_it_is(
    browser: "Browser", served: Running, tmp_path: Path
) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "image.png")
    page = browser.new_page()
    found = served.client.get("/model").json()
    old = found | {"version": "0", "classes": ["cat", "dog"], "drawings": False}
    page.route("**/model", lambda route: route.fulfill(json=old))
    page.goto(served.url)
    page.wait_for_function("document.getElementById('model').textContent.includes('2 classes')")
    page.unroute("**/model")
    page.set_input_files("#choose", tmp_path / "image.png")
    answer(page)
    assert "10 classes" in str(page.locator("#model").text_content())
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.ci
def test_nothing_is_cut_off_in_light_and_dark_on_small_and_large_screens(
    browser: "Browser", served: Running, scheme: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(served.url)
    page.wait_for_selector("#draw:not([hidden])")
    draw(page, [[(0.3, 0.3), (0.7, 0.7)]])
    answer(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in ground.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (min(levels) > 200) if scheme == "light" else (max(levels) < 60)
    page.close()


# trained for two seconds and for ten minutes
@pytest.mark.parametrize(
    ("recipe", "errors"), [pytest.param("fast", 8, marks=pytest.mark.ci), ("accurate", 5)]
)
@pytest.mark.timeout(7200)
def test_a_hundred_drawn_digits_are_recognized(
    make_project: MakeProject, mnist_archives: Path, browser: "Browser", recipe: str, errors: int
) -> None:
    project = make_project()
    shutil.copytree(mnist_archives, project.root / "data/downloads/MNIST/raw")
    flags = project.run("reprovision", "recipe", recipe).stdout.split()
    project.run("dvc", "exp", "run", *flags, timeout=7200)
    with running(project) as service:
        page = browser.new_page(viewport={"width": 900, "height": 800})
        page.goto(service.url)
        page.wait_for_selector("#draw:not([hidden])")
        wrong = []
        for digit, font, strokes in digits(per_font=2):
            page.click("#clear")
            draw(page, strokes)
            found, _ = answer(page)
            if found != digit:
                wrong.append(f"{digit} of {font}: {found}")
        page.close()
    assert len(wrong) <= errors, wrong
