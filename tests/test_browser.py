"""report.html in Chromium, opened from the disk as a reader opens it."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemsep import report
from tests.pages import HOSTILE, heard, listen, results, song

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="neither Chromium nor Chrome with its chromedriver is here; "
    "Debian: apt-get install chromium chromium-driver")
RATE = 22050
SECONDS = 6


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two tracks that can be heard, of three."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    scores = results(("one", HOSTILE, "a silent drummer's song"))
    listener = report.Listener([f"test/{track['name']}" for track in scores["tracks"]],
                               seconds=SECONDS, tracks=2)
    for number, track in enumerate(scores["tracks"]):
        listen(listener, f"test/{track['name']}", song(8 * RATE, channels=2, seed=number), RATE)
    report.write_page(path, scores, listener.heard)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page at the width of a desk; nothing may be on the console when a test is done."""
    size(browser, 1280)
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def size(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})


def wait(true: Callable[[], Any], *, limit_s: float = 20) -> None:
    """Wait until something is true."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def state(browser: Any, track: int = 0) -> dict[str, Any]:
    """Return what a player of the page does: state, time, and gain, start of each lane."""
    return browser.execute_script(
        """const player = players[arguments[0]];
        return {state: player.state, now: player.now(), slider: Number(player.slider.value),
          label: player.button.getAttribute("aria-label"), status: player.status.textContent,
          at: Number(player.section.style.getPropertyValue("--at")),
          lanes: player.lanes.map((lane) => ({
            name: (lane.element.dataset.target + " " + lane.element.dataset.kind).trim(),
            gain: lane.gain ? lane.gain.gain.value : null, started: lane.started,
            length: lane.buffer ? lane.buffer.length : null, sounding: lane.source !== null}))};
        """, track)


def hears(browser: Any, names: set[str], track: int = 0) -> None:
    """Wait until the lanes of these names are heard, and no others: their gains are 1 and 0."""
    def gains() -> dict[str, float]:
        return {lane["name"]: lane["gain"] for lane in state(browser, track)["lanes"]}

    wanted = {name: float(name in names) for name in gains()}
    assert names <= set(wanted)
    time.sleep(0.1)     # a click that changes nothing has had time to do harm
    wait(lambda: gains() == pytest.approx(wanted, abs=1e-3))


def click(browser: Any, selector: str, track: int = 0) -> None:
    section = browser.find_elements("css selector", "section.track")[track]
    section.find_element("css selector", selector).click()


def lane(target: str, kind: str, button: str) -> str:
    return f'.lane[data-target="{target}"][data-kind="{kind}"] .{button}'


def play(browser: Any, track: int = 0) -> None:
    click(browser, ".play", track)
    began = state(browser, track)["now"]
    wait(lambda: state(browser, track)["state"] == "playing"
         and state(browser, track)["now"] > began + 0.02)


def in_time(browser: Any, track: int = 0) -> float:
    """Check that all lanes sound, and started with the same sample at the same time; returns it."""
    lanes = state(browser, track)["lanes"]
    assert all(one["sounding"] and one["started"] == lanes[0]["started"] for one in lanes)
    assert {one["length"] for one in lanes} == {lanes[0]["length"]}
    return lanes[0]["started"]["offset"]


def test_time_passes_and_pauses(opened: Any) -> None:
    assert state(opened)["label"] == "Play one" and state(opened)["now"] == 0
    play(opened)
    before = state(opened)
    assert (before["state"], before["label"], before["status"]) == ("playing", "Pause one", "")
    time.sleep(0.3)
    after = state(opened)
    assert 0.2 < after["now"] - before["now"] < 2
    wait(lambda: 0 < state(opened)["at"] < 1)
    assert in_time(opened) == 0
    click(opened, ".play")
    paused = state(opened)
    time.sleep(0.1)
    assert paused["state"] == "paused" and state(opened)["now"] == paused["now"] > 0
    play(opened)
    assert in_time(opened) == paused["now"]      # it goes on where it paused


def test_sound_that_does_not_start_is_told(opened: Any) -> None:
    """As where Firefox finds no device; and it is forgotten once the sound starts."""
    opened.execute_script("""window.resume = AudioContext.prototype.resume;
        AudioContext.prototype.resume = () => new Promise((done) => { window.found = done; });""")
    click(opened, ".play")
    wait(lambda: "does not start" in state(opened)["status"])
    assert state(opened)["state"] == "loading"
    opened.execute_script("AudioContext.prototype.resume = window.resume; window.found();")
    wait(lambda: state(opened)["state"] == "playing" and state(opened)["status"] == "")


def test_solo_and_mute_change_gains_alone(opened: Any) -> None:
    play(opened)
    hears(opened, {"mixture"})
    click(opened, lane("drums", "estimate", "solo"))
    hears(opened, {"drums estimate"})
    click(opened, lane("the <rest>", "reference", "solo"))
    hears(opened, {"drums estimate", "the <rest> reference"})
    click(opened, lane("", "mixture", "mute"))
    hears(opened, {"drums estimate", "the <rest> reference"})
    for target, kind in (("drums", "estimate"), ("the <rest>", "reference")):
        click(opened, lane(target, kind, "solo"))
    hears(opened, set())
    click(opened, lane("drums", "error", "mute"))
    hears(opened, {"drums error"})
    button = opened.find_element("css selector", lane("drums", "error", "mute"))
    assert button.get_attribute("aria-pressed") == "false"
    assert button.get_attribute("aria-label") == "Mute drums error"
    assert in_time(opened) == 0     # nothing was started anew


def test_the_decoded_sounds_are_in_time(opened: Any) -> None:
    """What the browser decoded: the estimates add up to the mixture, sample by sample."""
    play(opened)
    waves = {name: np.array(wave) for name, wave in opened.execute_script(
        """return players[0].lanes.map((lane) => [
          (lane.element.dataset.target + " " + lane.element.dataset.kind).trim(),
          Array.from(lane.buffer.getChannelData(0).slice(20000, 40000))]);""")}
    assert len(waves) == 7
    for kind in ("estimate", "reference"):
        total = sum(wave for name, wave in waves.items() if name.endswith(kind))
        errors = [float(((waves["mixture"][5:-5] - np.roll(total, shift)[5:-5]) ** 2).sum())
                  for shift in range(-5, 6)]
        assert int(np.argmin(errors)) == 5
        assert errors[5] < 0.06 * (waves["mixture"] ** 2).sum()


def test_what_comes_out_is_in_time(opened: Any) -> None:
    """The output of all gains at one moment, through the page's own players."""
    play(opened)
    for target in ("drums", "the <rest>"):
        click(opened, lane(target, "estimate", "solo"))
    hears(opened, {"drums estimate", "the <rest> estimate"})
    opened.execute_script("""
      const lanes = players[0].lanes;
      // The mixture, negative, added to both estimates: what is left is what MP3 lost.
      const invert = new GainNode(context, {gain: -1});
      const sum = new GainNode(context);
      window.rest = new AnalyserNode(context, {fftSize: 8192});
      window.whole = new AnalyserNode(context, {fftSize: 8192});
      lanes[0].source.connect(invert).connect(sum);
      lanes[0].source.connect(window.whole);
      for (const lane of lanes)
        if (lane.element.dataset.kind === "estimate") lane.gain.connect(sum);
      sum.connect(window.rest);""")
    time.sleep(0.5)
    rest, whole = opened.execute_script("""return [window.rest, window.whole].map((node) => {
      const wave = new Float32Array(node.fftSize);
      node.getFloatTimeDomainData(wave);
      return wave.reduce((sum, value) => sum + value * value, 0); });""")
    assert whole > 0 and rest < 0.1 * whole


def test_seeking_keeps_all_in_time(opened: Any) -> None:
    opened.execute_script("""const slider = players[0].slider; slider.value = 2.5;
      slider.dispatchEvent(new Event("input"));""")
    assert state(opened)["now"] == pytest.approx(2.5, abs=0.01)
    play(opened)
    assert in_time(opened) == pytest.approx(2.5, abs=0.01)
    click(opened, lane("drums", "error", "screen"))     # into the middle of the picture
    assert in_time(opened) == pytest.approx(SECONDS / 2, abs=0.05)
    opened.execute_script("players[0].seek(players[0].seconds - 0.2)")
    wait(lambda: state(opened)["state"] == "paused")
    assert state(opened)["now"] == 0        # at the end it goes back to the beginning


def test_the_keyboard_is_enough(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    section = opened.find_elements("css selector", "section.track")[0]
    section.find_element("css selector", ".play").send_keys(Keys.SPACE)
    wait(lambda: state(opened)["now"] > 0.02)
    section.find_element("css selector", ".solo").send_keys(Keys.ENTER)
    hears(opened, {"mixture"})
    section.find_element("css selector", ".seek").send_keys(Keys.END)
    wait(lambda: state(opened)["state"] == "paused")
    head = opened.find_element("css selector", "table.tracks .sorts button")
    head.send_keys(Keys.ENTER)
    assert opened.switch_to.active_element == head


def test_one_track_plays_at_a_time(opened: Any) -> None:
    play(opened, 0)
    play(opened, 1)
    first, second = state(opened, 0), state(opened, 1)
    assert (first["state"], second["state"]) == ("paused", "playing")
    assert not any(one["sounding"] or one["length"] for one in first["lanes"])   # memory is freed
    in_time(opened, 1)
    opened.execute_script("players[0].button.click(); players[1].button.click();")
    wait(lambda: state(opened, 1)["state"] == "playing")
    assert state(opened, 0)["state"] == "paused"


@pytest.mark.parametrize("samples, rate", [(1, 44100), (700, 8000)])
def test_a_track_of_a_moment_plays_to_its_end(browser: Any, tmp_path: Path, samples: int,
                                              rate: int) -> None:
    report.write_page(tmp_path / "page.html", results(),
                      {"test/one": heard(song(samples, channels=2), rate)})
    browser.get((tmp_path / "page.html").as_uri())
    click(browser, ".play")
    wait(lambda: state(browser)["lanes"][0]["started"])
    wait(lambda: state(browser)["state"] == "paused")
    assert state(browser)["status"] == "" and browser.get_log("browser") == []


def test_tables_are_sorted_and_measures_chosen(opened: Any) -> None:
    def shown() -> list[str]:
        rows = opened.find_elements("css selector", ".measure:not([hidden]) tbody tr")
        return [row.find_element("css selector", "td").text for row in rows]

    before = shown()
    heads = opened.find_elements("css selector", ".measure:not([hidden]) .sorts")
    for order, reverse in (("descending", True), ("ascending", False)):
        heads[1].find_element("css selector", "button").click()
        assert heads[1].get_attribute("aria-sort") == order
        values = [float(text.replace("−", "-")) for text in shown()[:-1]]
        assert values == sorted(values, reverse=reverse) and shown()[-1] == "–"
    opened.execute_script("""const select = document.querySelector(".choice select");
      select.value = "bss_sir"; select.dispatchEvent(new Event("change"));""")
    assert len(opened.find_elements("css selector", ".measure:not([hidden])")) == 1
    assert shown() != before


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_width_scrolls_sideways(opened: Any, width: int) -> None:
    size(opened, width)
    scroll, client = opened.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth];")
    assert scroll <= client == width
    over = opened.execute_script("""return [...document.querySelectorAll("body *")].filter((one) =>
      !one.closest(".scroll, svg") && one.getBoundingClientRect().right > innerWidth + 0.5)
      .map((one) => one.outerHTML.slice(0, 80));""")
    assert over == []


def test_light_and_dark(opened: Any) -> None:
    """Both grounds are as they are called, and text has at least the contrast that WCAG asks for.
    """
    for scheme in ("light", "dark"):
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        colours = opened.execute_script(
            """const of = (at, key) => getComputedStyle(document.querySelector(at))[key];
            return [of("body", "backgroundColor"), of("body", "color"), of(".how", "color"),
              of("a", "color"), of(".errors li", "color")];""")
        ground, *texts = map(luminance, colours)
        assert ground > 0.9 if scheme == "light" else ground < 0.02
        for text in texts:
            contrast = (max(ground, text) + 0.05) / (min(ground, text) + 0.05)
            assert contrast >= 4.5
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(colour: str) -> float:
    """Return the relative luminance of "rgb(r, g, b)" (WCAG 2.2)."""
    parts = np.array([float(part) for part in colour.strip("rgba()").split(",")[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_without_its_script_every_sound_has_a_player(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        players = browser.find_elements("css selector", "audio")
        assert len(players) == 14 and all(player.is_displayed() for player in players)
        assert not browser.find_element("css selector", ".play").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
