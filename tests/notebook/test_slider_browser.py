"""The notebook in a real JupyterLab and browser: tables are text, and the slider changes its picture."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from model_compression.notebook import run

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: make env brings it (dev-packages of the Pipfile)"
)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
TOKEN = "only-for-this-test"
#: Seconds for JupyterLab to come up, and for the first training, which starts the workers.
PATIENCE = 180.0

#: Brings the notebook to the front, and gives the state of its kernel: without one, running the cells would
#: ask which to take.
KERNEL_STATUS = """
const app = window.jupyterapp;
const notebook = [...app.shell.widgets("main")].find(each => each.sessionContext);
if (!notebook) return "";
app.shell.activateById(notebook.id);
return notebook.sessionContext.session?.kernel?.status ?? "";
"""

pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no chromium and chromedriver here (Debian: chromium-driver)"
    ),
    pytest.mark.timeout(900),
]


def until(seen: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What `seen` gives as soon as it is true; errors on the way are no answer yet."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            if last := seen():
                return last
        except Exception as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s; {last}")


def cut_down(folder: Path, images: Path) -> nbformat.NotebookNode:
    """The notebook's own cells that the slider needs, on few images, with folders of its own."""
    read = load_notebook_node(str(run.NOTEBOOK))
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    (knobs,) = (cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    (opening,) = (cell for cell in code if "Workbook(" in cell.source)
    (sliding,) = (cell for cell in code if "sparsity_slider(" in cell.source)
    (table,) = (cell for cell in code if "book.layers(" in cell.source)
    # without this, the whole study would be trained in the background
    opening.source = opening.source.replace("book.start(DEVICE_IMAGES)", "")
    read.cells = [knobs, opening, table, sliding]
    for cell in read.cells:
        cell.outputs, cell.execution_count = [], None
    parameters = {
        "DATASET": str(images),
        "TRAIN_IMAGES": 500,
        "EPOCHS": 1,
        "FINE_TUNE_EPOCHS": 1,
        "N_SEEDS": 1,
    }
    parameters |= {f"{name}_DIR": str(folder / name) for name in ("RESULTS", "MODELS", "CACHE")}
    return parameterize_notebook(read, parameters, report_mode=False, kernel_name="python3")


@pytest.fixture(scope="module")
def lab(few_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab, with its token, that has the cut-down notebook open to be run."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    nbformat.write(cut_down(folder, few_file), folder / "notebooks" / "slider.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        name: str(folder / name)
        for name in (
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
        )
    }  # fmt: skip
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder / 'notebooks'}", f"--IdentityProvider.token={TOKEN}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    environment = os.environ | own | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{address}/api/status?token={TOKEN}", server, folder), "JupyterLab starts")
        yield f"{address}/lab/tree/slider.ipynb?token={TOKEN}"
    finally:
        # as on Ctrl-C twice: the kernels, and with them their workers, are ended first
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(address: str, server: "subprocess.Popen[bytes]", folder: Path) -> bool:
    if server.poll() is not None:
        pytest.fail(f"JupyterLab ended:\n{(folder / 'lab.log').read_text()[-2000:]}")
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except urllib.error.URLError:
        return False


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
        "window-size=1400,1800", f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def page(browser: Any) -> str:
    """What a failed test says of the cells and their outputs."""
    return "\n".join(each.text for each in browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook, .jp-Dialog"))


def words(browser: Any) -> str:
    """What is printed in the outputs, without the spaces that wipe a progress bar away."""
    found = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea .jp-RenderedText")
    return " ".join(" ".join(each.text for each in found).split())


def picture(browser: Any) -> str:
    """The slider's picture, as the page holds it."""
    images = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea .widget-output img")
    return images[-1].get_attribute("src") if images else ""


def test_moving_the_slider_trains_and_changes_the_picture(lab: str, browser: Any) -> None:
    browser.get(lab)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell"), "the notebook opens")
    until(lambda: browser.execute_script(KERNEL_STATUS) == "idle", "the kernel is ready")
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    try:
        until(lambda: "sparsity 80 %: " in words(browser), "the first picture")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{page(browser)}") from None
    first, said = picture(browser), words(browser)
    assert first.startswith("data:image/png")

    (handle,) = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea .noUi-handle")
    handle.send_keys(Keys.ARROW_RIGHT)
    until(lambda: "sparsity 85 %: " in words(browser), "the second picture")
    until(lambda: picture(browser) != first, "the picture changes", 20)

    handle.send_keys(Keys.ARROW_LEFT)
    until(lambda: words(browser) == said, "what is there already is shown at once", 30)


def test_table_can_be_selected_as_text(lab: str, browser: Any) -> None:
    cells = browser.find_elements(By.CSS_SELECTOR, ".jp-OutputArea .jp-RenderedHTML td")
    assert "CONV_2D 1" in " ".join(each.text for each in cells)
    browser.execute_script("getSelection().selectAllChildren(arguments[0])", cells[0])
    assert browser.execute_script("return getSelection().toString()").strip() == cells[0].text
